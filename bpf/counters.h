/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef TIERCEL_COUNTERS_H
#define TIERCEL_COUNTERS_H

#include "maps.h"

/* Adds one to a counter of this CPU (LOST_CALLS and so on). */
static __always_inline void count(u32 which)
{
	u64 *counter = counters.lookup(&which);
	if (counter)
		*counter += 1;
}

#endif
