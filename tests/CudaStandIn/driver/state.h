// What the stand-in knows of its one device. Everything is guarded by one lock: calls from several threads take turns, kernels included.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include "../fibers/schedule.h"
#include "result.h"

#define API extern "C" __attribute__((visibility("default")))

namespace driver
{
// What can be made to fail, and is counted.
enum class Call : int { Launch, Copy, Allocate, Synchronize, GraphLaunch, MatMul, HostAllocate, ModuleLoad, Count };

// Read by the tests: the order and types are those of StandInCounters.cs.
struct Counters
{
    int64_t launches;               // calls of cuLaunchKernel outside of a capture
    int64_t kernelsRun;             // kernels that ran, those of graphs included
    int64_t graphLaunches;
    int64_t matMulsRun;
    int64_t copiesUp, bytesUp;      // host to device, that ran
    int64_t copiesDown, bytesDown;
    int64_t copiesWithin, bytesWithin;
    int64_t fills;                  // memsets that ran
    int64_t allocations, frees;     // calls that succeeded
    int64_t liveAllocations, liveBytes, peakBytes;
    int64_t pinnedAllocations;      // alive
    int64_t synchronizations;
    int64_t modulesAlive, streamsAlive, eventsAlive, graphsAlive;
};

// When the operations of streams run.
enum class Order : int
{
    AtOnce = 0,         // when they are given
    Lazy = 1,           // when something waits for them, and no sooner: shows a result that nobody has waited for
    OthersFirst = 2,    // before a stream is waited for, all others run as far as they can: shows memory written while it is still to be read
    Shuffled = 3,       // by chance, with a fixed seed
};

struct Injection
{
    int64_t callsLeft = 0;          // 0: none
    int code = 0;
};

constexpr uint64_t DefaultMemoryBytes = 256ull << 20;

struct State
{
    std::recursive_mutex gate;
    bool initialized = false;
    int sticky = Success;
    std::string detail;             // of the last failure
    Counters counters{};
    std::map<std::string, int64_t> kernelRuns;
    Injection injections[int(Call::Count)];
    Order order = Order::AtOnce;
    fibers::Random random{1};
    fibers::Schedule schedule = fibers::Schedule::LaneOrder;
    uint64_t initialBytes = DefaultMemoryBytes, totalBytes;
    int architecture = 90;
    int64_t context = 1;            // counts up when its last user has let it go

    State();
};

State& state();

// The first lines of every call: the lock, what went wrong before, whether this thread has a context, and an injected failure.
int entered();
int injected(Call call);

// Which of the contexts that were made one after the other this thread has; 0 for none. What it was given ends with the context.
int64_t& current_context();

// Notes a failure of a call or of an operation that runs.
int failed(int code, const std::string& detail);
}

#define ENTER() \
    std::lock_guard lock(driver::state().gate); \
    if (const int refused = driver::entered()) \
    { \
        return refused; \
    }
