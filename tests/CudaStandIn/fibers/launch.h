// Kernels by name, and running one.
#pragma once
#include <string>
#include <vector>
#include "../shim/registration.h"
#include "../shim/vectors.h"
#include "schedule.h"

namespace fibers
{
struct KernelEntry
{
    std::string file, name, variant;
    shim::Invoker invoke;
    std::vector<size_t> parameterBytes;
    int launchBound;                            // of __launch_bounds__; 1024 without
};

// Null if there is none; an empty file means any. The variant is the -D options the source is compiled with, sorted and joined by blanks.
const KernelEntry* find_kernel(const std::string& file, const std::string& name, const std::string& variant);

// The kernels of a source file compiled with these options; empty if the library has none.
std::vector<std::string> kernels_of(const std::string& file, const std::string& variant);

// Zero for a file that the library was not built from.
unsigned long long source_hash(const std::string& file);

// Runs all blocks. Throws std::runtime_error, whose message names the kernel, the block, the thread and what was wrong.
void launch(const KernelEntry& kernel, dim3 grid, dim3 block, size_t dynamicBytes, void** arguments, Schedule schedule);

// The blocks' order under a schedule; the shuffled one steps through them with a stride that has no common divisor with their number.
uint64_t block_at(uint64_t step, uint64_t count, Schedule schedule);

// Blocks of one launch run on that many OS threads.
void set_os_threads(int count);
}
