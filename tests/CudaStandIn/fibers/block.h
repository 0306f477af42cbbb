// One block of threads. Its threads are fibers of one OS thread: each runs until it has to wait for others (a barrier or a warp operation),
// then the scheduler picks the next by the schedule. So everything between two waits of a thread is atomic to the others, and the schedules
// differ in who goes first.
#pragma once
#include <string>
#include <vector>
#include "../shim/threads.h"
#include "../shim/warp.h"
#include "../shim/registration.h"
#include "guarded.h"
#include "schedule.h"

namespace fibers
{
enum class State : char { Ready, AtBlockBarrier, AtWarpOperation, Ended };

struct PendingCopy
{
    void* target;
    int bytes;
    char data[16];
};

struct Fiber : shim::Thread
{
    void* stackPointer;
    char* stack;                                        // null before the first run and after the end
    State state;
    unsigned mask;                                      // of the warp operation it waits at
    std::vector<std::vector<PendingCopy>> committed;    // cp.async groups in flight, oldest first
    std::vector<PendingCopy> issued;                    // and what is not in a group yet
};

// The lanes that meet under one mask.
struct Meeting
{
    unsigned mask = 0, arrived = 0;
    int parity = 0;
    const char* operation = nullptr;
};

struct Warp
{
    static constexpr int MeetingCount = 4;

    unsigned ready, alive;                              // lanes
    Meeting meetings[MeetingCount];

    // Two for each meeting: a lane may still read the last operation's results when another deposits for the next.
    alignas(64) char deposits[MeetingCount][2][32 * shim::SlotBytes];
};

struct SharedArray
{
    const void* key;
    const char* name;
    char* memory;
    size_t bytes;
};

struct Block
{
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    shim::Geometry geometry;
    shim::Invoker kernel = nullptr;
    void** arguments = nullptr;
    Schedule schedule = Schedule::LaneOrder;
    bool isBackward = false;
    Random random{1};

    int alive = 0, atBarrier = 0;
    int predicates = 0, predicatesOfLast = 0;           // of __syncthreads_count
    SharedMemory sharedMemory;
    std::vector<SharedArray> shared;
    char* dynamicShared = nullptr;
    size_t dynamicBytes = 0, staticBytes = 0;

    std::vector<char*> freeStacks;                      // the last one used on top: a thread that never waits leaves it warm for the next
    std::vector<char*> allStacks, slabs;
    void* schedulerStack = nullptr;
    std::string error;

    void run(shim::Invoker kernel, void** arguments, const shim::Geometry& geometry, size_t dynamicBytes, Schedule schedule, uint64_t seed);
    void wait();                                        // called by a fiber: back to the scheduler
    void release_barrier();
    void release_warp(int warp);
    void end_current(const std::string& cause);
    ~Block();

private:
    void begin();
    void schedule_until_all_ended();
    bool sweep_warp(int warp, bool backward);
    int run_lane(int warp, int lane);
    void prepare(Fiber& fiber);
    char* take_stack();
    void check_shared();
    [[noreturn]] void fail_with_place(const char* what, int thread);
};

extern thread_local Block* running;

inline Fiber* me() { return static_cast<Fiber*>(shim::current); }

constexpr size_t MaxStaticShared = 48 * 1024, MaxShared = 227 * 1024;
}
