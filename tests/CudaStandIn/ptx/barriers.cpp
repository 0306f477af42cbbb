// Barriers of a block, which all lanes of a warp must reach together (.aligned), and of a warp.
#include "block.h"
#include "decoder.h"
#include "lanes.h"

namespace ptx
{
namespace
{
enum class Reduction { None, Or, And, Count };

// Operands: the barrier, how many threads (0 for all), the predicate and where its sum goes. Run twice: at the arrival and when the barrier opens.
template <Reduction R> void barrier(Warp& w, const Instruction& i)
{
    if (w.isReleased)
    {
        w.isReleased = false;
        w.barrier = -1;
        if constexpr (R == Reduction::Count)
        {
            const uint32_t sum = uint32_t(w.predicates);
            each<uint32_t>(w, i.operands[2], [=](int) { return sum; });
        }
        else if constexpr (R != Reduction::None)
        {
            put_predicate(w, i.operands[2], (R == Reduction::Or ? w.predicates > 0 : w.predicates == 0) ? ~0u : 0);
        }

        return;
    }

    if (!w.gather(w.alive))
    {
        return;
    }

    int predicates = 0;
    if constexpr (R != Reduction::None)
    {
        // Of an and those count that do not hold.
        const uint32_t p = i.immediate ? ~predicate(w, i.operands[3]) : predicate(w, i.operands[3]);
        predicates = __builtin_popcount(w.active & (R == Reduction::And ? ~p : p));
    }

    const int lane = __builtin_ctz(w.active);
    w.block->arrive(w, int(lanes<uint32_t>(w, i.operands[0])[lane]), int(lanes<uint32_t>(w, i.operands[1])[lane]), predicates);
    w.parked.push_back({w.pc, w.active, false});
    w.active = 0;
    w.next = Warp::End;
}

void warp_barrier(Warp& w, const Instruction& i)
{
    const uint32_t* masks = lanes<uint32_t>(w, i.operands[0]);
    uint32_t needed = 0;
    each_active(w, [&](int l)
    {
        needed |= masks[l];
        if (!(masks[l] >> l & 1))
        {
            fail_at(w, l, "a mask that leaves the lane out");
        }
    });
    w.gather(needed & w.alive);
}
}

void decode_barriers(Decoder& d)
{
    if (d.name() != "bar" && d.name() != "barrier")
    {
        return;
    }

    d.take("cta");
    d.take("aligned");
    if (d.take("warp"))
    {
        d.take("sync");
        d.read(0, "b32");
        d.emit(&warp_barrier);
        return;
    }

    if (d.take("sync"))
    {
        d.read(0, "u32");
        d.add(d.count() > 1 ? d.value(d.text(1), "u32") : d.scope().constant(0, 4));
        d.emit(&barrier<Reduction::None>);
        return;
    }

    if (!d.take("red"))
    {
        return;
    }

    const bool counts = d.take("popc"), isOr = d.take("or");
    d.take("and");
    d.take_last();
    const size_t last = d.count() - 1;
    bool negated = false;
    d.read(1, "u32");
    d.add(last > 2 ? d.value(d.text(2), "u32") : d.scope().constant(0, 4));
    d.add(counts ? d.written(d.text(0), 4) : d.predicate(d.text(0)));
    d.add(d.predicate(d.text(last), &negated));
    d.emit(counts ? &barrier<Reduction::Count> : isOr ? &barrier<Reduction::Or> : &barrier<Reduction::And>, negated);
}
}
