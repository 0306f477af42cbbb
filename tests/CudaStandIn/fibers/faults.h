#pragma once
#include <string>

namespace fibers
{
// Makes a kernel's access to memory that is not there end the kernel instead of the process. Faults outside of kernels go where they went.
void catch_faults();

// Says what lies at a faulting address; set by the driver, which knows the allocations.
extern std::string (*describe_address)(const void* address);
}
