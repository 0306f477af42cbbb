// shfl, vote, match, redux and activemask: what lanes of a warp tell each other. All lanes of the member mask must come to the same instruction.
#include <algorithm>
#include "decoder.h"
#include "lanes.h"

namespace ptx
{
namespace
{
// Calls f with each set of lanes that is together here. False where some are still missing.
template <class F> void together(Warp& w, const uint32_t* masks, F f)
{
    uint32_t needed = 0;
    each_active(w, [&](int l)
    {
        needed |= masks[l];
        if (!(masks[l] >> l & 1))
        {
            fail_at(w, l, "a member mask that leaves the lane out");
        }
    });
    if (!w.gather(needed & w.alive))
    {
        return;
    }

    const uint32_t all = w.active;
    for (uint32_t left = all; left;)
    {
        const uint32_t members = masks[__builtin_ctz(left)];
        if (members & w.alive & ~all)
        {
            fail(w, "lanes of a member mask have ended or gone elsewhere");
        }

        w.active = members & all;
        each_active(w, [&](int l)
        {
            if (masks[l] != members)
            {
                fail_at(w, l, "lanes meet with different member masks");
            }
        });
        f(w.active);
        left &= ~members;
    }

    w.active = all;
}

enum class Shuffle { Up, Down, Butterfly, Index };

// Operands: d, p, a, b, c, mask.
template <Shuffle S> void shuffle(Warp& w, const Instruction& i)
{
    const uint32_t* a = lanes<uint32_t>(w, i.operands[2]);
    const uint32_t* b = lanes<uint32_t>(w, i.operands[3]);
    const uint32_t* c = lanes<uint32_t>(w, i.operands[4]);
    together(w, lanes<uint32_t>(w, i.operands[5]), [&](uint32_t members)
    {
        uint32_t values[Lanes], inRange = 0;
        each_active(w, [&](int lane)
        {
            const int by = int(b[lane] & 31), clamp = int(c[lane] & 31), segments = int(c[lane] >> 8 & 31);
            const int most = (lane & segments) | (clamp & ~segments), least = lane & segments;
            int from;
            bool isInside;
            switch (S)
            {
                case Shuffle::Up:
                    from = lane - by;
                    isInside = from >= most;
                    break;
                case Shuffle::Down:
                    from = lane + by;
                    isInside = from <= most;
                    break;
                case Shuffle::Butterfly:
                    from = lane ^ by;
                    isInside = from <= most;
                    break;
                default:
                    from = least | (by & ~segments);
                    isInside = from <= most;
                    break;
            }

            from = isInside ? from : lane;
            if (!(members >> from & 1))
            {
                fail_at(w, lane, "shfl reads lane " + std::to_string(from) + ", which the member mask leaves out or which has ended");
            }

            values[lane] = a[from];
            inRange |= uint32_t(isInside) << lane;
        });
        put(w, lanes<uint32_t>(w, i.operands[0]), values);
        put_predicate(w, i.operands[1], inRange);
    });
}

enum class Vote { Ballot, Any, All, Uniform };

// Operands: d, p, mask; the immediate says whether p is negated.
template <Vote V> void vote(Warp& w, const Instruction& i)
{
    const uint32_t p = i.immediate ? ~predicate(w, i.operands[1]) : predicate(w, i.operands[1]);
    together(w, lanes<uint32_t>(w, i.operands[2]), [&](uint32_t members)
    {
        const uint32_t votes = p & members;
        if constexpr (V == Vote::Ballot)
        {
            each<uint32_t>(w, i.operands[0], [=](int) { return votes; });
        }
        else
        {
            const bool result = V == Vote::Any ? votes != 0 : V == Vote::All ? votes == members : votes == 0 || votes == members;
            put_predicate(w, i.operands[0], result ? ~0u : 0);
        }
    });
}

// Operands: d, a, mask.
template <class T> void match_any(Warp& w, const Instruction& i)
{
    const T* a = lanes<T>(w, i.operands[1]);
    together(w, lanes<uint32_t>(w, i.operands[2]), [&](uint32_t members)
    {
        each<uint32_t>(w, i.operands[0], [=](int l) { return members & mask_of([=](int other) { return a[other] == a[l]; }); });
    });
}

struct Sum { template <class T> static T of(T a, T b) { return T(a + b); } };
struct Least { template <class T> static T of(T a, T b) { return std::min(a, b); } };
struct Most { template <class T> static T of(T a, T b) { return std::max(a, b); } };
struct And { template <class T> static T of(T a, T b) { return T(a & b); } };
struct Or { template <class T> static T of(T a, T b) { return T(a | b); } };
struct Xor { template <class T> static T of(T a, T b) { return T(a ^ b); } };

template <class T, class Op> void reduce(Warp& w, const Instruction& i)
{
    const T* a = lanes<T>(w, i.operands[1]);
    together(w, lanes<uint32_t>(w, i.operands[2]), [&](uint32_t members)
    {
        T total = a[__builtin_ctz(members)];
        for (uint32_t left = members & (members - 1); left; left &= left - 1)
        {
            total = Op::of(total, a[__builtin_ctz(left)]);
        }

        each<T>(w, i.operands[0], [=](int) { return total; });
    });
}

void active_mask(Warp& w, const Instruction& i)
{
    const uint32_t mask = w.active;
    each<uint32_t>(w, i.operands[0], [=](int) { return mask; });
}

void decode_shuffle(Decoder& d)
{
    const bool isUp = d.take("up"), isDown = d.take("down"), isButterfly = d.take("bfly");
    d.take("idx");
    d.take("b32");
    const std::vector<std::string> targets = split(d.text(0), '|');
    d.add(d.written(targets[0], 4));
    d.add(d.predicate(targets.size() > 1 ? targets[1] : "_"));
    for (size_t n = 1; n <= 4; n++)
    {
        d.read(n, "b32");
    }

    d.emit(isUp ? &shuffle<Shuffle::Up> : isDown ? &shuffle<Shuffle::Down> : isButterfly ? &shuffle<Shuffle::Butterfly> : &shuffle<Shuffle::Index>);
}

void decode_vote(Decoder& d)
{
    const bool isBallot = d.take("ballot");
    const Execute execute = isBallot ? &vote<Vote::Ballot> : d.take("any") ? &vote<Vote::Any> : d.take("all") ? &vote<Vote::All> : d.take("uni") ? &vote<Vote::Uniform> : nullptr;
    if (!execute)
    {
        return;
    }

    d.take(isBallot ? "b32" : "pred");
    bool negated = false;
    d.add(isBallot ? d.written(d.text(0), 4) : d.predicate(d.text(0)));
    d.add(d.predicate(d.text(1), &negated));
    d.read(2, "b32");
    d.emit(execute, negated);
}

void decode_reduce(Decoder& d)
{
    const std::string type = d.take_last();
    d.write(0, 4);
    d.read(1, "b32");
    d.read(2, "b32");
    const bool isSigned = type == "s32";
    const Execute execute = d.take("add") ? &reduce<uint32_t, Sum>
        : d.take("min") ? (isSigned ? &reduce<int32_t, Least> : &reduce<uint32_t, Least>)
        : d.take("max") ? (isSigned ? &reduce<int32_t, Most> : &reduce<uint32_t, Most>)
        : d.take("and") ? &reduce<uint32_t, And> : d.take("or") ? &reduce<uint32_t, Or> : d.take("xor") ? &reduce<uint32_t, Xor> : nullptr;
    if (execute)
    {
        d.emit(execute);
    }
}
}

void decode_exchanges(Decoder& d)
{
    if (d.name() == "activemask")
    {
        d.take("b32");
        d.write(0, 4);
        d.emit(&active_mask);
        return;
    }

    if ((d.name() != "shfl" && d.name() != "vote" && d.name() != "redux" && d.name() != "match") || !d.take("sync"))
    {
        return;
    }

    if (d.name() == "shfl")
    {
        decode_shuffle(d);
    }
    else if (d.name() == "vote")
    {
        decode_vote(d);
    }
    else if (d.name() == "redux")
    {
        decode_reduce(d);
    }
    else if (d.name() == "match" && d.take("any"))
    {
        const std::string type = d.take_last();
        d.write(0, 4);
        d.read(1, type);
        d.read(2, "b32");
        d.emit(type == "b64" ? &match_any<uint64_t> : &match_any<uint32_t>);
    }
}
}
