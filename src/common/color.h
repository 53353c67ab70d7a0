/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Whether output is coloured: as the terminal can, always, never. */
enum pt_color { PT_COLOR_AUTO, PT_COLOR_YES, PT_COLOR_NO };
