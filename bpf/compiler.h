/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_COMPILER_H
#define TIERCEL_COMPILER_H

/* The compiler forgets what it knows of a variable. It then keeps a mask or a comparison that it would find needless, and
 * that the verifier wants to see. */
#define barrier_var(variable) __asm__ volatile("" : "+r"(variable))

/* Reads a variable from memory, writes it to memory. The verifier remembers the bounds of a register, and follows a loop
 * once for each different set of bounds; it remembers nothing of memory, so that every round looks the same to it. */
#define READ_ONCE(variable) (*(volatile __typeof__(variable) *)&(variable))
#define WRITE_ONCE(variable, value) (*(volatile __typeof__(variable) *)&(variable) = (value))

/* `one` if `condition`, which is 0 or 1, is 1, else `other`; without a branch. */
static __always_inline u32 either(u32 condition, u32 one, u32 other)
{
	u32 mask = -condition;
	barrier_var(mask);
	return other ^ ((one ^ other) & mask);
}

/* 1 if any bit is set, without a branch. */
static __always_inline u32 is_not_zero(u64 word)
{
	u64 set = word | -word;
	barrier_var(set); /* else the compiler finds out what it is, and makes a branch of it */
	return set >> 63;
}

#endif
