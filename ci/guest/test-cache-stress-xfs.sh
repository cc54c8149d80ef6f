#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The same as test-cache-stress.sh, on XFS.
# kernels: 5.10 6.1 6.12 7.2
# slow
FS=xfs exec "$(dirname "$0")/test-cache-stress.sh"
