// x86-64 System V and AArch64. Floating point control words are left alone: kernels do not change them.
#include "context_switch.h"
#include <cstdint>

#if defined(__x86_64__)
asm(R"(
.text
.globl standin_switch
.hidden standin_switch
.type standin_switch,@function
standin_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

void* fibers::first_stack_pointer(char* top, void (*entry)())
{
    void** p = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15));
    *--p = nullptr;                                 // a return address that nothing returns to, which aligns the stack as a call does
    *--p = reinterpret_cast<void*>(entry);
    for (int saved = 0; saved < 6; saved++)
    {
        *--p = nullptr;
    }

    return p;
}
#elif defined(__aarch64__)
asm(R"(
.text
.globl standin_switch
.hidden standin_switch
.type standin_switch,%function
standin_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");

void* fibers::first_stack_pointer(char* top, void (*entry)())
{
    void** p = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15)) - 160);
    for (int slot = 0; slot < 20; slot++)
    {
        p[slot] = nullptr;
    }

    p[11] = reinterpret_cast<void*>(entry);         // x30
    return p;
}
#else
#error "no context switch for this processor"
#endif
