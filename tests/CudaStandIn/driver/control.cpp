// What tests set and read; the C# side is tests/TestKit/Cuda/StandIn.cs.
#include <cstring>
#include "../fibers/faults.h"
#include "../fibers/launch.h"
#include "../fibers/sites.h"
#include "../nvrtc/real.h"
#include "state.h"

namespace driver
{
void forget_queued();
}

using namespace driver;

// Ends a sticky error, drops what is queued and what is to fail, and sets schedule, order and memory back. Allocations stay their owners'.
API void standin_reset()
{
    std::lock_guard lock(state().gate);
    forget_queued();
    State& s = state();
    s.sticky = Success;
    s.detail.clear();
    s.schedule = fibers::Schedule::LaneOrder;
    s.order = Order::AtOnce;
    s.totalBytes = s.initialBytes;
    for (Injection& injection : s.injections)
    {
        injection = {};
    }

    fibers::set_os_threads(1);
}

API void standin_set_schedule(int schedule)
{
    std::lock_guard lock(state().gate);
    state().schedule = fibers::Schedule(schedule);
}

API void standin_set_order(int order, uint64_t seed)
{
    std::lock_guard lock(state().gate);
    state().order = Order(order);
    state().random = fibers::Random(seed);
}

// From now on modules are compiled by the NVRTC of a folder, for an architecture such as "compute_80", and their PTX is run; "" for the stand-in's kernels.
API void standin_set_nvrtc(const char* folder, const char* architecture) { nvrtc::use_real(folder, architecture); }

API void standin_set_memory(uint64_t bytes)
{
    std::lock_guard lock(state().gate);
    state().totalBytes = bytes;
}

API void standin_set_threads(int count)
{
    std::lock_guard lock(state().gate);
    fibers::set_os_threads(count);
}

API void standin_set_time_limit(int seconds)
{
    std::lock_guard lock(state().gate);
    fibers::set_time_limit(seconds);
}

// The n-th call of a kind from now on (the next is 1) fails with the code; n = 0 takes that back.
API void standin_inject(int call, int64_t nth, int code)
{
    std::lock_guard lock(state().gate);
    state().injections[call] = {nth, code};
}

API void standin_counters(Counters* counters)
{
    std::lock_guard lock(state().gate);
    *counters = state().counters;
}

// Sets the counts of events to zero; what is alive stays counted.
API void standin_reset_counters()
{
    std::lock_guard lock(state().gate);
    const Counters now = state().counters;
    Counters& c = state().counters = {};
    c.liveAllocations = now.liveAllocations;
    c.liveBytes = c.peakBytes = now.liveBytes;
    c.pinnedAllocations = now.pinnedAllocations;
    c.modulesAlive = now.modulesAlive;
    c.streamsAlive = now.streamsAlive;
    c.eventsAlive = now.eventsAlive;
    c.graphsAlive = now.graphsAlive;
    state().kernelRuns.clear();
}

// How often each kernel ran, one a line: "name count".
API const char* standin_kernel_runs()
{
    static thread_local std::string text;
    std::lock_guard lock(state().gate);
    text.clear();
    for (const auto& [name, count] : state().kernelRuns)
    {
        text += name + " " + std::to_string(count) + "\n";
    }

    return text.c_str();
}

API const char* standin_last_error()
{
    static thread_local std::string text;
    std::lock_guard lock(state().gate);
    text = state().detail;
    return text.c_str();
}

API void standin_record_sites(int on)
{
    std::lock_guard lock(state().gate);
    fibers::record_sites(on != 0);
}

API const char* standin_recorded_sites()
{
    std::lock_guard lock(state().gate);
    return fibers::recorded_sites().c_str();
}

API void standin_omit_site(const char* site)
{
    std::lock_guard lock(state().gate);
    fibers::omit_site(site);
}
