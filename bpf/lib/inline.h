/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Inline in earnest. linux/stddef.h, which comes with every header of the kernel, makes of
 * __always_inline a wish; where each call counts, include this first.
 */
#pragma once

#include <linux/stddef.h>

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
