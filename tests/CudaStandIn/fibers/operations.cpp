// What a kernel's calls into the shim do: barriers, meetings of a warp, shared memory, failing.
#include <cstdarg>
#include <cstdio>
#include <stdexcept>
#include "../shim/shared.h"
#include "block.h"
#include "guarded.h"

using fibers::Block;
using fibers::Fiber;
using fibers::me;
using fibers::Meeting;
using fibers::running;
using fibers::State;
using fibers::Warp;

void shim::fail(const char* format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    throw std::runtime_error(text);
}

void shim::sync_block()
{
    Block& block = *running;
    Fiber* fiber = me();
    fiber->state = State::AtBlockBarrier;
    block.warps[fiber->warp].ready &= ~(1u << fiber->lane);
    block.atBarrier++;
    block.release_barrier();
    block.wait();
}

int shim::sync_block_count(int predicate)
{
    running->predicates += predicate != 0;
    sync_block();
    return running->predicatesOfLast;
}

static Meeting& meeting_of(Warp& warp, unsigned mask)
{
    Meeting* free = nullptr;
    for (Meeting& meeting : warp.meetings)
    {
        if (meeting.mask == mask)
        {
            return meeting;
        }

        free = !free && !meeting.arrived ? &meeting : free;
    }

    if (!free)
    {
        shim::fail("more than %d different masks are waited for in one warp", Warp::MeetingCount);
    }

    free->mask = mask;
    return *free;
}

shim::Deposits shim::exchange(unsigned mask, const void* value, size_t bytes, const char* operation, void (*combine)(Deposits))
{
    Block& block = *running;
    Fiber* fiber = me();
    Warp& warp = block.warps[fiber->warp];
    const unsigned bit = 1u << fiber->lane;
    if (!(mask & bit))
    {
        fail("%s: lane %d calls it with the mask %08x, which leaves it out", operation, fiber->lane, mask);
    }

    Meeting& meeting = meeting_of(warp, mask);
    if (!meeting.arrived)
    {
        meeting.operation = operation;
    }
    else if (meeting.operation != operation && strcmp(meeting.operation, operation) != 0)
    {
        fail("lanes of one warp meet in different operations: %s and %s", meeting.operation, operation);
    }

    const Deposits all{warp.deposits[&meeting - warp.meetings][meeting.parity]};
    memcpy(all.base + fiber->lane * SlotBytes, value, bytes);
    meeting.arrived |= bit;
    if (combine && (meeting.arrived & warp.alive) == (meeting.mask & warp.alive))
    {
        combine(all);
    }

    fiber->state = State::AtWarpOperation;
    fiber->mask = mask;
    warp.ready &= ~bit;
    block.release_warp(fiber->warp);
    block.wait();
    return all;
}

void* shim::shared_array(const void* key, size_t bytes, const char* name)
{
    Block& block = *running;
    for (const fibers::SharedArray& array : block.shared)
    {
        if (array.key == key)
        {
            return array.memory;
        }
    }

    block.staticBytes += bytes;
    if (block.staticBytes > fibers::MaxStaticShared)
    {
        fail("the shared array '%s' takes static shared memory over %zu bytes", name, fibers::MaxStaticShared);
    }

    // KernelModule.cs asks for more than 48 KiB where the dynamic part alone is more; what stands in the kernel counts too.
    const size_t limit = block.dynamicBytes > fibers::MaxStaticShared ? fibers::MaxShared : fibers::MaxStaticShared;
    if (block.staticBytes + block.dynamicBytes > limit)
    {
        fail("the shared array '%s' and %zu bytes of dynamic shared memory take a block over %zu bytes", name, block.dynamicBytes, limit);
    }

    block.shared.push_back({key, name, block.sharedMemory.allocate(bytes), bytes});
    return block.shared.back().memory;
}

void* shim::shared_dynamic() { return running->dynamicShared; }
