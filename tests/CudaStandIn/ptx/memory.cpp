#include "memory.h"
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <map>
#include <sys/mman.h>
#include "block.h"
#include "lanes.h"

namespace ptx
{
Range (*find_memory)(uint64_t address);
std::string (*describe_memory)(const void* address);

// A byte for each byte of an allocation: whether the launch has read it by ld.global.nc, or written it.
struct Marks
{
    enum : uint8_t { ReadOnly = 1, Written = 2 };

    uint64_t first, end;
    uint8_t* bytes;
    uint64_t low = ~0ull, high = 0;     // what may be marked
};

namespace
{
std::map<std::pair<uint64_t, uint64_t>, Marks> s_marks;

// Most of them are of allocations that are long gone.
constexpr size_t MostMarks = 1000;

Marks* marks_of(const Range& range)
{
    const auto found = s_marks.find({range.first, range.end});
    if (found != s_marks.end())
    {
        return &found->second;
    }

    void* mapping = mmap(nullptr, range.end - range.first, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
    {
        throw std::runtime_error("no memory for marks");
    }

    Marks& marks = s_marks[{range.first, range.end}];
    marks.first = range.first;
    marks.end = range.end;
    marks.bytes = static_cast<uint8_t*>(mapping);
    return &marks;
}

// ld.global.nc may give what was there before the launch or after a write of it, as it likes: of the launch's other accesses none may write there.
void mark(const Warp& w, int lane, const Range& range, uint64_t address, int bytes, Use use)
{
    const uint8_t mine = use == Use::Write ? Marks::Written : Marks::ReadOnly, others = uint8_t(3 - mine);
    uint8_t* at = range.marks->bytes + (address - range.marks->first);
    uint8_t met = 0;
    for (int b = 0; b < bytes; b++)
    {
        met |= at[b];
        at[b] |= mine;
    }

    range.marks->low = std::min(range.marks->low, address);
    range.marks->high = std::max(range.marks->high, address + uint64_t(bytes));
    if (met & others)
    {
        fail_at(w, lane, std::string(use == Use::Write ? "writes what the launch reads" : "reads what the launch writes") + " by ld.global.nc, at "
            + (describe_memory ? describe_memory(reinterpret_cast<void*>(address)) : std::to_string(address)));
    }
}

Range& cache_of(Warp& w) { return w.block->cached[w.pc]; }

Range range_of(const Warp& w, uint64_t address)
{
    Range owned = find_memory ? find_memory(address) : Range();
    if (owned.end > 0)
    {
        owned.marks = marks_of(owned);
        return owned;
    }

    for (const std::vector<char>& variable : w.block->kernel->program->variables)
    {
        const uint64_t first = reinterpret_cast<uint64_t>(variable.data());
        if (address >= first && address < first + variable.size())
        {
            return {first, first + variable.size(), nullptr};
        }
    }

    return {};
}

Range shared_range_of(const Block& block, uint64_t address)
{
    for (const Variable& v : block.kernel->shared)
    {
        if (address >= v.offset && address < v.offset + v.bytes)
        {
            return {v.offset, v.offset + v.bytes, nullptr};
        }
    }

    const uint64_t first = block.kernel->dynamicOffset, end = first + block.launch->dynamicBytes;
    return first && address >= first && address < end ? Range{first, end, nullptr} : Range();
}

std::string shared_text(const Block& block, uint64_t address)
{
    char text[200];
    const Variable* before = nullptr;
    for (const Variable& v : block.kernel->shared)
    {
        before = v.offset <= address ? &v : before;
    }

    if (block.kernel->dynamicOffset && address >= block.kernel->dynamicOffset)
    {
        snprintf(text, sizeof text, "byte %" PRIu64 " of the %zu bytes of dynamic shared memory", address - block.kernel->dynamicOffset, block.launch->dynamicBytes);
    }
    else if (before)
    {
        snprintf(text, sizeof text, "byte %" PRIu64 " of the shared array %s of %zu bytes", address - before->offset, before->name.c_str(), before->bytes);
    }
    else
    {
        snprintf(text, sizeof text, "%" PRIu64 ", before all shared arrays", address);
    }

    return text;
}

[[noreturn]] void fail_misaligned(const Warp& w, int lane, uint64_t address, int bytes)
{
    char text[100];
    snprintf(text, sizeof text, "the address %#" PRIx64 " is not aligned to %d bytes", address, bytes);
    fail_at(w, lane, text);
}

char* resolve_local(Warp& w, int lane, uint64_t address, int bytes)
{
    const size_t size = w.block->kernel->localBytes;
    if (address + uint64_t(bytes) > size || address > size)
    {
        fail_at(w, lane, "local memory is touched at byte " + std::to_string(address) + " of " + std::to_string(size));
    }

    return w.local.data() + size_t(lane) * size + address;
}

char* resolve_generic(Warp& w, int lane, uint64_t address, int bytes)
{
    return address - SharedWindow < WindowBytes ? resolve_shared(w, lane, address - SharedWindow, bytes)
        : address - LocalWindow < WindowBytes ? resolve_local(w, lane, address - LocalWindow, bytes)
        : resolve_global(w, lane, address, bytes);
}
}

void forget_marks()
{
    for (auto& [range, marks] : s_marks)
    {
        if (marks.low < marks.high)
        {
            const uint64_t first = (marks.low - marks.first) & ~4095ull, end = marks.high - marks.first;
            if (end - first < 64 << 10)
            {
                memset(marks.bytes + first, 0, end - first);
            }
            else
            {
                madvise(marks.bytes + first, end - first, MADV_DONTNEED);
            }
        }

        marks.low = ~0ull;
        marks.high = 0;
    }

    if (s_marks.size() > MostMarks)
    {
        for (const auto& [range, marks] : s_marks)
        {
            munmap(marks.bytes, marks.end - marks.first);
        }

        s_marks.clear();
    }
}

char* resolve_global(Warp& w, int lane, uint64_t address, int bytes)
{
    Range& cache = cache_of(w);
    if (!cache.holds(address, address + uint64_t(bytes)))
    {
        const Range found = range_of(w, address);
        if (!found.holds(address, address + uint64_t(bytes)))
        {
            fail_at(w, lane, "illegal address: touched " + std::to_string(bytes) + " bytes of "
                + (describe_memory ? describe_memory(reinterpret_cast<void*>(address)) : std::to_string(address)));
        }

        cache = found;
    }

    return reinterpret_cast<char*>(address);
}

char* resolve_shared(Warp& w, int lane, uint64_t address, int bytes)
{
    Block& block = *w.block;
    if (!shared_range_of(block, address).holds(address, address + uint64_t(bytes)))
    {
        fail_at(w, lane, "touched " + std::to_string(bytes) + " bytes outside of shared memory, at " + shared_text(block, address));
    }

    return block.shared + address;
}

void resolve(Warp& w, const Instruction& i, int bytes, char** at)
{
    uint64_t address[Lanes];
    const Access& access = i.access;
    if (access.addressBytes == 8)
    {
        const uint64_t* base = lanes<uint64_t>(w, i.operands[0]);
        for (int l = 0; l < Lanes; l++)
        {
            address[l] = base[l] + uint64_t(i.immediate);
        }
    }
    else
    {
        const uint32_t* base = lanes<uint32_t>(w, i.operands[0]);
        for (int l = 0; l < Lanes; l++)
        {
            address[l] = uint64_t(base[l]) + uint64_t(i.immediate);
        }
    }

    uint64_t low = ~0ull, high = 0, bits = 0;
    for (int l = 0; l < Lanes; l++)
    {
        const bool isActive = w.active >> l & 1;
        low = isActive && address[l] < low ? address[l] : low;
        high = isActive && address[l] > high ? address[l] : high;
        bits |= isActive ? address[l] : 0;
    }

    if (bits & uint64_t(bytes - 1))
    {
        each_active(w, [&](int l)
        {
            if (address[l] & uint64_t(bytes - 1))
            {
                fail_misaligned(w, l, address[l], bytes);
            }
        });
    }

    Range& cache = cache_of(w);
    switch (access.space)
    {
        case Space::Global:
            if (!cache.holds(low, high + uint64_t(bytes)))
            {
                each_active(w, [&](int l) { resolve_global(w, l, address[l], bytes); });
            }

            if (access.use != Use::Read)
            {
                each_active(w, [&](int l)
                {
                    const Range range = cache.holds(address[l], address[l] + uint64_t(bytes)) ? cache : range_of(w, address[l]);
                    if (range.marks)
                    {
                        mark(w, l, range, address[l], bytes, access.use);
                    }
                });
            }

            for (int l = 0; l < Lanes; l++)
            {
                at[l] = reinterpret_cast<char*>(address[l]);
            }

            break;
        case Space::Shared:
            if (!cache.holds(low, high + uint64_t(bytes)))
            {
                each_active(w, [&](int l) { resolve_shared(w, l, address[l], bytes); });
                cache = shared_range_of(*w.block, low);
            }

            for (int l = 0; l < Lanes; l++)
            {
                at[l] = w.block->shared + address[l];
            }

            break;
        case Space::Local:
            each_active(w, [&](int l) { at[l] = resolve_local(w, l, address[l], bytes); });
            break;
        case Space::Generic:
            each_active(w, [&](int l) { at[l] = resolve_generic(w, l, address[l], bytes); });
            break;
    }
}
}
