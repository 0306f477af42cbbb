#include "block.h"
#include <algorithm>
#include <cstring>
#include <sys/mman.h>
#include "lanes.h"

namespace ptx
{
using fibers::Schedule;

namespace
{
constexpr int BarrierCount = 16;

// No kernel of a test comes near; what goes on for ever ends here.
constexpr int64_t MostInstructions = 1ll << 33;

void fill(Warp& w, Ref ref, uint32_t value)
{
    if (ref != NoRef)
    {
        std::fill_n(lanes<uint32_t>(w, ref), Lanes, value);
    }
}
}

Block::Block()
{
    void* mapping = mmap(nullptr, SharedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
    {
        throw std::runtime_error("no memory for shared arrays");
    }

    shared = static_cast<char*>(mapping);
}

Block::~Block() { munmap(shared, SharedBytes); }

void Block::prepare(const Launch& next)
{
    launch = &next;
    kernel = next.kernel;
    cached.assign(kernel->code.size(), Range());
    copyTime = fibers::copy_time(next.schedule);
    const size_t threads = next.block.all();
    warps.resize((threads + Lanes - 1) / Lanes);
    for (size_t i = 0; i < warps.size(); i++)
    {
        Warp& w = warps[i];
        w.block = this;
        w.index = int(i);
        w.registers.assign(kernel->registerBytes + 64, char(0xff));
        w.local.resize(kernel->localBytes * Lanes);
        w.bases[0] = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(w.registers.data()) + 63) & ~uintptr_t(63));
        w.bases[1] = const_cast<char*>(kernel->constants.data());
        for (size_t l = 0; l < Lanes; l++)
        {
            const size_t thread = i * Lanes + l;
            const uint32_t index[] = {uint32_t(thread % next.block.x), uint32_t(thread / next.block.x % next.block.y),
                uint32_t(thread / (uint64_t(next.block.x) * next.block.y))};
            for (int axis = 0; axis < 3; axis++)
            {
                if (kernel->threadIndex[axis] != NoRef)
                {
                    lanes<uint32_t>(w, kernel->threadIndex[axis])[l] = index[axis];
                }
            }

            if (kernel->laneIndex != NoRef)
            {
                lanes<uint32_t>(w, kernel->laneIndex)[l] = uint32_t(l);
            }
        }

        fill(w, kernel->warpIndex, uint32_t(i));
        const uint32_t size[] = {next.block.x, next.block.y, next.block.z}, grid[] = {next.grid.x, next.grid.y, next.grid.z};
        for (int axis = 0; axis < 3; axis++)
        {
            fill(w, kernel->blockSize[axis], size[axis]);
            fill(w, kernel->gridSize[axis], grid[axis]);
        }
    }
}

void Block::begin(Size index, uint64_t seed)
{
    _index = index;
    random = fibers::Random(seed);
    barriers.assign(BarrierCount, Barrier());
    poison_shared();
    const size_t threads = launch->block.all();
    for (Warp& w : warps)
    {
        const size_t left = threads - size_t(w.index) * Lanes;
        w.alive = left >= Lanes ? ~0u : (1u << left) - 1;
        w.active = 0;
        w.parked.assign(1, {0, w.alive, false});
        w.barrier = -1;
        w.isReleased = false;
        w.aliveAtRetry = 0;
        w.copies.clear();
        std::fill_n(w.copyGroup, Lanes, 0);
        memset(w.local.data(), 0xff, w.local.size());
        const uint32_t at[] = {index.x, index.y, index.z};
        for (int axis = 0; axis < 3; axis++)
        {
            fill(w, kernel->blockIndex[axis], at[axis]);
        }
    }
}

void Block::poison_shared()
{
    for (const Variable& v : kernel->shared)
    {
        memset(shared + v.offset, 0xff, v.bytes);
    }

    if (kernel->dynamicOffset)
    {
        memset(shared + kernel->dynamicOffset, 0xff, launch->dynamicBytes);
    }
}

std::string Block::name() const
{
    return "block (" + std::to_string(_index.x) + ", " + std::to_string(_index.y) + ", " + std::to_string(_index.z) + ")";
}

void Block::check_copies() const
{
    for (const Warp& w : warps)
    {
        if (!w.copies.empty())
        {
            throw std::runtime_error("thread " + std::to_string(w.index * Lanes + w.copies[0].lane) + " ended with a cp.async that it has not waited for");
        }
    }
}

bool Block::advance()
{
    const Schedule schedule = launch->schedule;
    const bool isBackward = schedule == Schedule::Reverse || schedule == Schedule::GreedyBackward;
    const size_t count = warps.size();
    bool moved = false, all = true;
    for (size_t step = 0; step < count; step++)
    {
        Warp& w = warps[schedule == Schedule::Shuffled ? random.next(unsigned(count)) : isBackward ? count - 1 - step : step];
        if (!w.has_ended() && (w.barrier < 0 || w.isReleased))
        {
            // By chance a warp is left in the midst of what it does.
            w.run(schedule == Schedule::Shuffled ? 1 + random.next(200) : MostInstructions);
            moved = true;
            if (schedule != Schedule::Shuffled && !w.has_ended() && w.barrier < 0)
            {
                throw std::runtime_error("warp " + std::to_string(w.index) + " goes on for ever");
            }
        }
    }

    for (const Warp& w : warps)
    {
        all &= w.has_ended();
        moved |= !w.has_ended() && (w.barrier < 0 || w.isReleased);
    }

    moved |= release();
    if (all)
    {
        check_copies();
    }
    else if (!moved)
    {
        std::string text = "deadlock:";
        for (const Warp& w : warps)
        {
            text += w.has_ended() ? "" : " warp " + std::to_string(w.index) + " waits at line " + std::to_string(w.at(w.pc).line);
        }

        throw std::runtime_error(text);
    }

    return !all;
}

void Block::arrive(Warp& w, int id, int wanted, int predicates)
{
    if (id < 0 || id >= BarrierCount)
    {
        fail(w, "barrier " + std::to_string(id) + " of 16");
    }

    Barrier& b = barriers[size_t(id)];
    b.arrived += Lanes;
    b.wanted = wanted;
    b.predicates += predicates;
    w.barrier = id;
}

// Opens the barriers that all they wait for have reached.
bool Block::release()
{
    bool any = false;
    int alive = 0;
    for (const Warp& w : warps)
    {
        alive += w.has_ended() ? 0 : Lanes;
    }

    for (size_t id = 0; id < barriers.size(); id++)
    {
        Barrier& b = barriers[id];
        if (b.arrived == 0 || b.arrived < (b.wanted ? b.wanted : alive))
        {
            continue;
        }

        for (Warp& w : warps)
        {
            if (w.barrier == int(id))
            {
                w.isReleased = true;
                w.predicates = b.predicates;
            }
        }

        b = Barrier();
        any = true;
    }

    return any;
}
}
