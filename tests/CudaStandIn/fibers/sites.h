// Places in kernels (barriers, waits, masks) that mutation tests take out, one at a time, to see that a test then fails.
#pragma once
#include <string>

namespace fibers
{
// Sets the name of the kernel that runs; places in shared helpers count once for each kernel.
void watch_kernel(const std::string& name);

// From now on notes which places are reached.
void record_sites(bool on);

// The noted places, one a line: "kernel file.cu:line:column what".
const std::string& recorded_sites();

// Takes the place written so out, of every kernel with "*" for its name; an empty text puts all back.
void omit_site(const std::string& site);
}
