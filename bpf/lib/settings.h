/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The node's facts, written into this section before load. */
#pragma once

#include <bpf/bpf_helpers.h>

#include <cairn/config.h>

const volatile struct cairn_config cairn_config SEC(".rodata.config") = {};
