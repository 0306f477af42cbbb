#include "block.h"
#include <cstdlib>
#include <stdexcept>
#include <sys/mman.h>
#include "context_switch.h"

thread_local shim::Thread* shim::current;

namespace fibers
{
thread_local Block* running;

namespace
{
// Odd in pages and in cache lines, so that equal offsets in the stacks of different fibers fall into different cache sets.
constexpr size_t StackBytes = (64 << 10) + 4096 + 192;
constexpr size_t SlabLength = 128;
constexpr uint64_t Canary = 0x5ca1ab1edeadbea7ull;

void fiber_main()
{
    Block& block = *running;
    std::string cause;
    try
    {
        block.kernel(block.arguments);
        for (const auto& group : me()->committed)
        {
            cause = group.empty() ? cause : "ended with a cp.async that it has not waited for";
        }

        cause = me()->issued.empty() ? cause : "ended with a cp.async that it has not waited for";
    }
    catch (const std::exception& e)
    {
        cause = e.what();
    }

    block.end_current(cause);
    abort();
}

int pick(unsigned lanes, bool backward) { return backward ? 31 - __builtin_clz(lanes) : __builtin_ctz(lanes); }
}

// Goes on with the warp's next lane where one is ready, as the scheduler's sweep would, and with the scheduler otherwise.
void Block::wait()
{
    Fiber* self = me();
    const unsigned behind = isBackward ? (1u << self->lane) - 1 : ~((2u << self->lane) - 1);
    const unsigned left = warps[self->warp].ready & behind;
    if (!left || schedule == Schedule::Shuffled || self->state == State::Ended)
    {
        standin_switch(&self->stackPointer, schedulerStack);
        return;
    }

    Fiber* next = &fibers[size_t(self->warp * 32 + pick(left, isBackward))];
    prepare(*next);
    shim::current = next;
    standin_switch(&self->stackPointer, next->stackPointer);
}

// Takes the running fiber out for good; it no longer counts at barriers and warp operations.
void Block::end_current(const std::string& cause)
{
    Fiber* fiber = me();
    if (!cause.empty())
    {
        error = cause;
    }

    fiber->state = State::Ended;
    alive--;
    warps[fiber->warp].alive &= ~(1u << fiber->lane);
    warps[fiber->warp].ready &= ~(1u << fiber->lane);
    release_barrier();
    release_warp(fiber->warp);
    wait();
}

void Block::release_barrier()
{
    if (alive == 0 || atBarrier != alive)
    {
        return;
    }

    predicatesOfLast = predicates;
    predicates = atBarrier = 0;
    for (Fiber& fiber : fibers)
    {
        if (fiber.state == State::AtBlockBarrier)
        {
            fiber.state = State::Ready;
            warps[fiber.warp].ready |= 1u << fiber.lane;
        }
    }
}

void Block::release_warp(int index)
{
    Warp& warp = warps[index];
    for (Meeting& meeting : warp.meetings)
    {
        if (!meeting.arrived || (meeting.arrived & warp.alive) != (meeting.mask & warp.alive))
        {
            continue;
        }

        for (unsigned left = meeting.arrived & warp.alive; left; left &= left - 1)
        {
            fibers[index * 32 + __builtin_ctz(left)].state = State::Ready;
        }

        warp.ready |= meeting.arrived & warp.alive;
        meeting.arrived = 0;
        meeting.parity ^= 1;
    }
}

void Block::begin()
{
    const dim3 size = geometry.blockSize;
    const int count = int(size.x * size.y * size.z);
    freeStacks = allStacks;                         // a block that failed has left its threads in the middle
    fibers.resize(size_t(count));
    warps.resize(size_t(count + 31) / 32);
    for (Warp& warp : warps)
    {
        warp.alive = 0;
        for (Meeting& meeting : warp.meetings)
        {
            meeting.mask = meeting.arrived = 0;     // the deposits, 16 KiB a warp, may stay as they are
        }
    }

    alive = count;
    atBarrier = predicates = 0;
    error.clear();
    for (int i = 0; i < count; i++)
    {
        Fiber& fiber = fibers[i];
        fiber.index = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
        fiber.lane = i & 31;
        fiber.warp = i >> 5;
        fiber.geometry = &geometry;
        fiber.state = State::Ready;
        fiber.committed.clear();
        fiber.issued.clear();
        warps[fiber.warp].alive |= 1u << fiber.lane;
        fiber.stack = nullptr;
    }

    for (Warp& warp : warps)
    {
        warp.ready = warp.alive;
    }
}

void Block::run(shim::Invoker k, void** a, const shim::Geometry& g, size_t dynamic, Schedule s, uint64_t seed)
{
    kernel = k;
    arguments = a;
    geometry = g;
    schedule = s;
    isBackward = s == Schedule::Reverse || s == Schedule::GreedyBackward;
    random = Random(seed);
    running = this;
    begin();
    sharedMemory.clear();
    shared.clear();
    staticBytes = 0;
    dynamicBytes = dynamic;
    dynamicShared = sharedMemory.allocate(dynamic);

    schedule_until_all_ended();
    check_shared();
}

char* Block::take_stack()
{
    if (freeStacks.empty())
    {
        const size_t used = allStacks.size() % SlabLength;
        if (used == 0)
        {
            void* slab = mmap(nullptr, SlabLength * StackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (slab == MAP_FAILED)
            {
                throw std::runtime_error("no memory for stacks");
            }

            slabs.push_back(static_cast<char*>(slab));
        }

        allStacks.push_back(slabs.back() + used * StackBytes);
        memcpy(allStacks.back(), &Canary, sizeof Canary);
        return allStacks.back();
    }

    char* stack = freeStacks.back();
    freeStacks.pop_back();
    return stack;
}

void Block::prepare(Fiber& fiber)
{
    if (!fiber.stack)
    {
        fiber.stack = take_stack();
        fiber.stackPointer = first_stack_pointer(fiber.stack + StackBytes, &fiber_main);
    }
}

// Runs a lane, and lanes of its warp behind it, and returns the last.
int Block::run_lane(int warp, int lane)
{
    Fiber& first = fibers[size_t(warp * 32 + lane)];
    prepare(first);
    shim::current = &first;
    standin_switch(&schedulerStack, first.stackPointer);
    const Fiber& last = *me();
    shim::current = nullptr;
    if (last.state == State::Ended)
    {
        if (memcmp(last.stack, &Canary, sizeof Canary) != 0)
        {
            memcpy(last.stack, &Canary, sizeof Canary);
            error = "used more than 64 KiB of stack";
        }

        freeStacks.push_back(last.stack);
    }

    if (!error.empty())
    {
        fail_with_place(error.c_str(), warp * 32 + last.lane);
    }

    return last.lane;
}

// Runs the warp's lanes once, each as far as it can; lanes that become ready behind the sweep run in the next one.
bool Block::sweep_warp(int index, bool backward)
{
    bool ran = false;
    Warp& warp = warps[index];
    for (unsigned left = warp.ready; left;)
    {
        const int lane = run_lane(index, pick(left, backward));
        ran = true;
        left = warp.ready & (backward ? (1u << lane) - 1 : ~((2u << lane) - 1));
    }

    return ran;
}

void Block::schedule_until_all_ended()
{
    const int count = int(warps.size());
    std::vector<int> order(warps.size());
    for (int i = 0; i < count; i++)
    {
        order[i] = i;
    }

    while (alive > 0)
    {
        bool ran = false;
        if (schedule == Schedule::Shuffled)
        {
            for (int i = count - 1; i > 0; i--)
            {
                std::swap(order[i], order[random.next(unsigned(i) + 1)]);
            }

            for (int w : order)
            {
                // An affine permutation of the lanes; every fourth warp or so has to wait for the next round.
                const unsigned odd = random.next(16) * 2 + 1, shift = random.next(32);
                for (unsigned i = 0; i < 32 && (!ran || random.next(128) != 0); i++)
                {
                    const int lane = int((i * odd + shift) & 31);
                    if (warps[w].ready >> lane & 1)
                    {
                        run_lane(w, lane);
                        ran = true;
                    }
                }
            }
        }
        else
        {
            const bool greedy = schedule == Schedule::GreedyForward || schedule == Schedule::GreedyBackward;
            for (int i = 0; i < count; i++)
            {
                const int w = isBackward ? count - 1 - i : i;
                while (warps[w].ready && sweep_warp(w, isBackward))
                {
                    ran = true;
                    if (!greedy)
                    {
                        break;
                    }
                }
            }
        }

        if (!ran)
        {
            char text[160];
            snprintf(text, sizeof text, "deadlock: %d of %d threads wait at __syncthreads, the others at a warp operation (divergent barrier)", atBarrier, alive);
            fail_with_place(text, -1);
        }
    }
}

void Block::check_shared()
{
    for (const SharedArray& array : shared)
    {
        if (const long at = SharedMemory::damage_around(array.memory, array.bytes))
        {
            char text[200];
            snprintf(text, sizeof text, "wrote outside of the shared array '%s' of %zu bytes, at byte %ld", array.name, array.bytes, at < 0 ? at : at - 1);
            fail_with_place(text, -1);
        }
    }

    if (const long at = SharedMemory::damage_around(dynamicShared, dynamicBytes))
    {
        char text[200];
        snprintf(text, sizeof text, "wrote outside of the %zu bytes of dynamic shared memory, at byte %ld", dynamicBytes, at < 0 ? at : at - 1);
        fail_with_place(text, -1);
    }
}

void Block::fail_with_place(const char* what, int thread)
{
    const dim3 b = geometry.blockIndex;
    char place[64];
    snprintf(place, sizeof place, "block (%u,%u,%u)", b.x, b.y, b.z);
    std::string text = place;
    if (thread >= 0)
    {
        text += " thread " + std::to_string(thread);
    }

    shim::current = nullptr;
    throw std::runtime_error(text + ": " + what);
}

Block::~Block()
{
    for (char* slab : slabs)
    {
        munmap(slab, SlabLength * StackBytes);
    }
}
}
