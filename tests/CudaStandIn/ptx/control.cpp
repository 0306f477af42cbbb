// Branches and ends, and what orders memory, which here has an order.
#include "decoder.h"
#include "lanes.h"

namespace ptx
{
namespace
{
// The reader of the module puts the target into the immediate when it knows it.
void branch(Warp& w, const Instruction& i) { w.next = uint32_t(i.immediate); }

void branch_if(Warp& w, const Instruction& i) { w.part(w.active & predicate(w, i.operands[0]), uint32_t(i.immediate)); }
void branch_unless(Warp& w, const Instruction& i) { w.part(w.active & ~predicate(w, i.operands[0]), uint32_t(i.immediate)); }

void end(Warp& w, const Instruction&)
{
    w.alive &= ~w.active;
    w.active = 0;
    w.next = Warp::End;
}

void nothing(Warp&, const Instruction&) {}

void trap(Warp& w, const Instruction&) { fail(w, "trap"); }
}

void decode_control(Decoder& d)
{
    const std::string& name = d.name();
    if (name == "bra")
    {
        d.take("uni");
        bool negated = false;
        const std::string guard = d.take_guard();
        if (guard.empty())
        {
            d.emit(&branch);
            return;
        }

        d.add(d.predicate(guard, &negated));
        d.emit(negated ? &branch_unless : &branch_if);
    }
    else if (name == "ret" || name == "exit")
    {
        d.take("uni");
        d.emit(&end);
    }
    else if (name == "membar" || name == "fence" || name == "nanosleep")
    {
        for (const char* word : {"gl", "cta", "sys", "gpu", "sc", "acq_rel", "u32"})
        {
            d.take(word);
        }

        d.emit(&nothing);
    }
    else if (name == "trap")
    {
        d.emit(&trap);
    }
}
}
