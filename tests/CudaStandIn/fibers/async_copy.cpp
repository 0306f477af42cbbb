#include "../shim/async_copy.h"
#include "block.h"

using fibers::Fiber;
using fibers::me;
using fibers::PendingCopy;

static void perform(std::vector<PendingCopy>& copies)
{
    for (const PendingCopy& copy : copies)
    {
        memcpy(copy.target, copy.data, size_t(copy.bytes));
    }

    copies.clear();
}

void shim::copy_async(void* shared, const void* global, int bytes, int readBytes)
{
    if ((reinterpret_cast<uintptr_t>(shared) | uintptr_t(readBytes ? global : nullptr)) & uintptr_t(bytes - 1))
    {
        fail("cp.async of %d bytes from %p to %p: not aligned", bytes, global, shared);
    }

    PendingCopy copy{shared, bytes, {}};
    memcpy(copy.data, global, size_t(readBytes));
    const fibers::CopyTime time = fibers::copy_time(fibers::running->schedule);
    if (time == fibers::CopyTime::Issue || (time == fibers::CopyTime::Chance && fibers::running->random.next(2)))
    {
        memcpy(shared, copy.data, size_t(bytes));
        return;
    }

    me()->issued.push_back(copy);
}

void shim::copy_commit()
{
    Fiber* fiber = me();
    fiber->committed.push_back(std::move(fiber->issued));
    fiber->issued.clear();
}

void shim::copy_wait(int groupsLeft)
{
    Fiber* fiber = me();
    while (int(fiber->committed.size()) > (groupsLeft < 0 ? 0 : groupsLeft))
    {
        perform(fiber->committed.front());
        fiber->committed.erase(fiber->committed.begin());
    }

    if (groupsLeft < 0)
    {
        perform(fiber->issued);
    }
}
