#pragma once
#include <string>

namespace fibers
{
// Makes a kernel's access to memory that is not there end the kernel instead of the process. Faults outside of kernels go where they went.
void catch_faults();

// The processor time that the blocks of one launch may take on an OS thread, in seconds; 0 for any. A kernel that takes longer ends like one that
// touched memory that is not there. For kernels that a mutation test has broken: the thread is torn out of whatever it was doing.
void set_time_limit(int seconds);

// Starts and ends the time of a launch on this OS thread.
class TimedLaunch
{
public:
    TimedLaunch();
    ~TimedLaunch();
};

// Says what lies at a faulting address; set by the driver, which knows the allocations.
extern std::string (*describe_address)(const void* address);
}
