#include "warp.h"
#include <algorithm>
#include <cstdio>
#include "block.h"
#include "lanes.h"

namespace ptx
{
const Instruction& Warp::at(uint32_t pc) const { return block->kernel->code[pc]; }

void Warp::run(int64_t budget)
{
    const Instruction* code = block->kernel->code.data();
    while (budget > 0 && choose())
    {
        while (next < limit && budget-- > 0)
        {
            pc = next++;
            const Instruction& i = code[pc];
            if (i.guard == NoRef)
            {
                i.execute(*this, i);
                continue;
            }

            const uint32_t before = active, p = predicate(*this, i.guard);
            active &= i.guardNegated ? ~p : p;
            const uint32_t guarded = active;
            if (active)
            {
                i.execute(*this, i);
            }

            // Lanes that the instruction has sent away or made wait stay so.
            active |= before & ~guarded;
            next = active && next == End ? pc + 1 : next;
        }

        park();
    }
}

void Warp::park()
{
    if (active)
    {
        parked.push_back({next, active, false});
        active = 0;
    }
}

// Takes up the lanes that are furthest behind. When all wait, those whose wait an end of other lanes may have fulfilled try again.
bool Warp::choose()
{
    for (bool again = false; barrier < 0 || isReleased; again = true)
    {
        uint32_t lowest = End;
        for (const Group& g : parked)
        {
            lowest = g.waits ? lowest : std::min(lowest, g.pc);
        }

        if (lowest != End)
        {
            limit = End;
            for (size_t g = parked.size(); g-- > 0;)
            {
                if (parked[g].waits)
                {
                    continue;
                }

                if (parked[g].pc == lowest)
                {
                    active |= parked[g].lanes;
                    parked.erase(parked.begin() + long(g));
                }
                else
                {
                    limit = std::min(limit, parked[g].pc);
                }
            }

            next = lowest;
            return true;
        }

        if (parked.empty())
        {
            return false;
        }

        if (again || aliveAtRetry == alive)
        {
            throw std::runtime_error("warp " + std::to_string(index) + ", deadlock: " + where_lanes_wait());
        }

        aliveAtRetry = alive;
        for (Group& g : parked)
        {
            g.waits = false;
        }
    }

    return false;
}

bool Warp::gather(uint32_t needed)
{
    for (size_t g = parked.size(); g-- > 0;)
    {
        if (parked[g].waits && parked[g].pc == pc)
        {
            active |= parked[g].lanes;
            parked.erase(parked.begin() + long(g));
        }
    }

    if ((needed & ~active) == 0)
    {
        return true;
    }

    parked.push_back({pc, active, true});
    active = 0;
    next = End;
    return false;
}

void Warp::part(uint32_t taken, uint32_t target)
{
    if (taken == active)
    {
        next = target;
        return;
    }

    if (taken == 0)
    {
        return;
    }

    const Group ahead = target < next ? Group{next, active & ~taken, false} : Group{target, taken, false};
    next = std::min(next, target);
    parked.push_back(ahead);
    active &= ~ahead.lanes;
    limit = std::min(limit, ahead.pc);
}

std::string Warp::where_lanes_wait() const
{
    std::string text;
    for (const Group& g : parked)
    {
        char lanes[80];
        snprintf(lanes, sizeof lanes, "%slanes %08x wait at line %d", text.empty() ? "" : ", ", g.lanes, at(g.pc).line);
        text += lanes;
    }

    return text;
}

void fail(const Warp& w, const std::string& what) { fail_at(w, w.active ? __builtin_ctz(w.active) : 0, what); }

void fail_at(const Warp& w, int lane, const std::string& what)
{
    throw std::runtime_error("thread " + std::to_string(w.index * Lanes + lane) + ", line " + std::to_string(w.at(w.pc).line) + " of the PTX: " + what);
}
}
