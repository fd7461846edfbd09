/*
 * pin.hpp
 *		The layout may be used only if it is the one that this cluster's IDs have.
 */
#pragma once

#include "prelude.h"

namespace snowflake
{

/* This process has seen that `layout` is the pinned one. */
extern bool layout_confirmed;

/* Raises an error if the library was not preloaded or the layout is not the pinned one. */
void		confirm_layout();

/* To be called before `layout` or `shared` is used for SQL: costs one test. */
inline void
require_layout()
{
	if (!layout_confirmed) [[unlikely]]
		confirm_layout();
}

} // namespace snowflake
