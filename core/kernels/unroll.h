// Sums of a register tile are arrays indexed by loops of constant length. They stay in registers
// only when those loops are unrolled whole, and before the compiler decides where arrays live: say
// so in front of every such loop.
#pragma once

#if defined(__clang__)
#define PLUMB_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PLUMB_UNROLL _Pragma("GCC unroll 16")
#endif
