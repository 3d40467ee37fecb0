// Named character sets as members of a PCRE2 class, with the characters that PCRE2's own tables
// may be too old for. Used by the translation of regular expressions (regex.h).
#pragma once

#include <string>
#include <string_view>

namespace plumb {

inline constexpr std::string_view kSpaces = "\\p{White_Space}";

// Superscripts and fractions that Oniguruma's \w and \b take for word characters when they stand by
// themselves (it looks them up in a Latin-1 table), though [\w] does not.
inline constexpr std::string_view kLatin1Words = "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";

// Letters, marks, decimal digits and connectors.
std::string word_set();

// A general category: "L", "Nd".
std::string category_set(std::string_view category);

// What \p{name} or [:name:] stands for, apart from scripts; empty when there is no such set.
std::string named_set(std::string_view name);

// A script by its own name. PCRE2 by itself would take the script's extensions along. Only a name
// that PCRE2 knows compiles.
std::string script_set(std::string_view name);

}  // namespace plumb
