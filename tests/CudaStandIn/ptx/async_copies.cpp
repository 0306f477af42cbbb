// cp.async. A copy takes place at its issue, at the wait for it, or by chance at either, as the schedule says.
#include <algorithm>
#include "block.h"
#include "decoder.h"
#include "lanes.h"

namespace ptx
{
namespace
{
void copy(Warp& w, const PendingCopy& c)
{
    char* target = w.block->shared + c.target;
    memcpy(target, reinterpret_cast<const char*>(c.source), size_t(c.read));
    memset(target + c.read, 0, size_t(c.bytes - c.read));
}

// Operands: target, source, how many bytes are real; the immediate has the bytes, and above bit 8 and 40 the offsets of source and target.
template <class T> void issue(Warp& w, const Instruction& i)
{
    const T* target = lanes<T>(w, i.operands[0]);
    const uint64_t* source = lanes<uint64_t>(w, i.operands[1]);
    const uint32_t* real = lanes<uint32_t>(w, i.operands[2]);
    const int bytes = int(i.immediate & 255);
    const int64_t sourceOffset = int32_t(i.immediate >> 8), targetOffset = int32_t(i.immediate >> 40);
    each_active(w, [&](int l)
    {
        const uint64_t to = uint64_t(target[l]) + uint64_t(targetOffset), from = source[l] + uint64_t(sourceOffset);
        const int read = int(real[l]);
        if (read < 0 || read > bytes)
        {
            fail_at(w, l, "cp.async of " + std::to_string(read) + " bytes of " + std::to_string(bytes));
        }

        if ((to | from) & uint64_t(bytes - 1))
        {
            fail_at(w, l, "cp.async of an address that is not aligned to " + std::to_string(bytes) + " bytes");
        }

        resolve_shared(w, l, to, bytes);
        if (read > 0)
        {
            resolve_global(w, l, from, read);
        }

        const PendingCopy made{l, w.copyGroup[l], from, uint32_t(to), bytes, read};
        const fibers::CopyTime time = w.block->copyTime;
        if (time == fibers::CopyTime::Issue || (time == fibers::CopyTime::Chance && w.block->random.next(2) == 0))
        {
            copy(w, made);
        }

        w.copies.push_back(made);
    });
}

void commit(Warp& w, const Instruction&)
{
    each_active(w, [&](int l) { w.copyGroup[l]++; });
}

// The immediate: how many of the last groups may still be under way; -1 to wait for what is in no group too.
void wait(Warp& w, const Instruction& i)
{
    auto isAwaited = [&](const PendingCopy& c) { return (w.active >> c.lane & 1) && (i.immediate < 0 || c.group < w.copyGroup[c.lane] - int(i.immediate)); };
    if (w.block->copyTime != fibers::CopyTime::Issue)
    {
        for (const PendingCopy& c : w.copies)
        {
            if (isAwaited(c))
            {
                copy(w, c);
            }
        }
    }

    w.copies.erase(std::remove_if(w.copies.begin(), w.copies.end(), isAwaited), w.copies.end());
}

void decode_issue(Decoder& d)
{
    d.take("shared");
    d.take("global");
    for (const char* hint : {"ca", "cg", "L2::64B", "L2::128B", "L2::256B"})
    {
        d.take(hint);
    }

    const Address target = d.address(d.text(0)), source = d.address(d.text(1));
    const int64_t bytes = d.number(d.text(2));
    if ((bytes != 4 && bytes != 8 && bytes != 16) || source.baseBytes != 8)
    {
        d.fail("the size or the source is not known");
    }

    d.add(target.base);
    d.add(source.base);
    d.add(d.count() > 3 ? d.value(d.text(3), "b32") : d.scope().constant(uint64_t(bytes), 4));
    d.emit(target.baseBytes == 4 ? &issue<uint32_t> : &issue<uint64_t>, bytes | int64_t(uint32_t(source.offset)) << 8 | target.offset << 40);
}
}

void decode_async_copies(Decoder& d)
{
    if (d.name() != "cp" || !d.take("async"))
    {
        return;
    }

    if (d.take("commit_group"))
    {
        d.emit(&commit);
    }
    else if (d.take("wait_all"))
    {
        d.emit(&wait, -1);
    }
    else if (d.take("wait_group"))
    {
        d.emit(&wait, d.number(d.text(0)));
    }
    else
    {
        decode_issue(d);
    }
}
}
