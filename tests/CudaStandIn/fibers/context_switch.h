#pragma once

namespace fibers
{
// Saves the callee-saved registers on the running stack, stores its pointer at *from and goes on where the stack `to` was left.
extern "C" void standin_switch(void** from, void* to);

// A stack that standin_switch enters at `entry`, which never returns.
void* first_stack_pointer(char* top, void (*entry)());
}
