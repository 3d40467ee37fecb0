#include "core/io/utf8.h"

#include <cstdint>

namespace plumb {
namespace {

size_t continuation_bytes(unsigned char lead) {
  if (lead < 0x80) return 0;
  if (lead >= 0xC2 && lead < 0xE0) return 1;
  if (lead >= 0xE0 && lead < 0xF0) return 2;
  if (lead >= 0xF0 && lead < 0xF5) return 3;
  return SIZE_MAX;
}

}  // namespace

bool is_utf8(std::string_view text) { return valid_utf8_prefix(text) == text.size(); }

size_t valid_utf8_prefix(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    const auto lead = static_cast<unsigned char>(text[i++]);
    const size_t more = continuation_bytes(lead);
    if (more > text.size() - i) return start;
    for (size_t k = 0; k < more; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      if ((byte & 0xC0) != 0x80) return start;
      // Overlong forms, surrogates, and beyond U+10FFFF.
      if (k == 0 && ((lead == 0xE0 && byte < 0xA0) || (lead == 0xED && byte >= 0xA0) ||
                     (lead == 0xF0 && byte < 0x90) || (lead == 0xF4 && byte >= 0x90)))
        return start;
    }
    i += more;
  }
  return text.size();
}

}  // namespace plumb
