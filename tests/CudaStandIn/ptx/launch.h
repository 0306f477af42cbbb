#pragma once
#include "block.h"

namespace ptx
{
// Runs all blocks. Throws std::runtime_error, whose message names the kernel, the block, the thread, the line of the PTX and what was wrong.
void run(const Launch& launch);
}
