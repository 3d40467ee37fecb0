#include "core/tokenizer/character_sets.h"

#include <fmt/format.h>

#include <cctype>

#include "core/tokenizer/unicode_additions.h"

namespace plumb {
namespace {

// Of Unicode 15 and 15.1.
constexpr std::string_view kHanAdditions = "\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}";
constexpr std::string_view kCategoryLetters = "lmnpszc";

std::string additions(std::string_view category) {
  std::string out;
  for (const CategoryRange& range : kUnicodeAdditions)
    if (std::string_view(range.category).starts_with(category))
      out += fmt::format("\\x{{{:X}}}-\\x{{{:X}}}", range.first, range.last);
  return out;
}

// Names are compared without case, spaces, hyphens and underscores.
std::string loose(std::string_view name) {
  std::string key;
  for (const char c : name)
    if (c != '_' && c != '-' && c != ' ') key += static_cast<char>(std::tolower(c));
  return key;
}

// "lu" -> "Lu"; empty when the key is not one or two letters of that kind.
std::string category_name(const std::string& key) {
  const bool short_enough = key.size() == 1 || key.size() == 2;
  if (!short_enough || kCategoryLetters.find(key[0]) == std::string_view::npos) return "";
  std::string name = key;
  name[0] = static_cast<char>(std::toupper(key[0]));
  return name;
}

struct LongName {
  std::string_view name, category;
};
constexpr LongName kLongNames[] = {
    {"letter", "L"}, {"mark", "M"},      {"number", "N"}, {"punctuation", "P"}, {"symbol", "S"},
    {"digit", "Nd"}, {"separator", "Z"}, {"cntrl", "Cc"}, {"control", "Cc"},
};

}  // namespace

std::string word_set() {
  return "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}" + additions("L") + additions("M") + additions("Nd");
}

std::string category_set(std::string_view category) {
  return fmt::format("\\p{{{}}}{}", category, additions(category));
}

std::string named_set(std::string_view name) {
  const std::string key = loose(name);
  if (key == "space" || key == "whitespace") return std::string(kSpaces);
  if (key == "word") return word_set();
  if (key == "alpha" || key == "alphabetic") return "\\p{Alphabetic}" + additions("L");
  if (key == "alnum") return "\\p{Alphabetic}" + additions("L") + category_set("Nd");
  if (key == "punct") return category_set("P") + category_set("S");
  if (key == "xdigit") return "0-9a-fA-F";
  if (key == "upper") return "\\p{Uppercase}" + additions("Lu");
  if (key == "lower") return "\\p{Lowercase}" + additions("Ll");
  for (const LongName& row : kLongNames)
    if (row.name == key) return category_set(row.category);
  const std::string category = category_name(key);
  return category.empty() ? "" : category_set(category);
}

std::string script_set(std::string_view name) {
  return fmt::format("\\p{{sc:{}}}{}", name, loose(name) == "han" ? kHanAdditions : "");
}

}  // namespace plumb
