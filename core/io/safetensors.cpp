#include "core/io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace plumb {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's own limit
static_assert(std::endian::native == std::endian::little, "the format is little-endian");

// Element types that the format knows and this program has no use for.
constexpr std::array<std::string_view, 16> kUnsupported = {
    "F4",        "F6_E2M3",     "F6_E3M2",     "F8_E4M3", "F8_E5M2", "F8_E8M0",
    "F8_E4M3FN", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "U16",     "U32",     "U64",
    "C64",       "C128",        "U4",          "I4"};

Result<DType> supported_dtype(const SafetensorsEntry& entry, const std::string& where) {
  if (const auto dtype = parse_dtype(entry.dtype)) return *dtype;
  const bool known =
      std::find(kUnsupported.begin(), kUnsupported.end(), entry.dtype) != kUnsupported.end();
  return input_error(
      "{}: tensor {} has {} dtype {}, expected F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL",
      where, quote_name(entry.name), known ? "the unsupported" : "the unknown",
      quote_name(entry.dtype));
}

Status check_span(const SafetensorsEntry& entry, size_t data_bytes, const std::string& where) {
  if (entry.begin > entry.end)
    return input_error("{}: tensor {} begins at byte {} and ends before it at byte {}", where,
                       quote_name(entry.name), entry.begin, entry.end);
  if (entry.end > data_bytes)
    return input_error("{}: tensor {} spans bytes {}..{} but the data ends at byte {} (truncated?)",
                       where, quote_name(entry.name), entry.begin, entry.end, data_bytes);
  return ok_status();
}

Result<TensorInfo> to_tensor(const SafetensorsEntry& entry, std::span<const std::byte> data,
                             const std::string& where) {
  PLUMB_ASSIGN(const DType dtype, supported_dtype(entry, where));
  PLUMB_RETURN_IF_ERROR(check_span(entry, data.size(), where));
  const auto expected = checked_byte_count(entry.shape, dtype_bytes(dtype));
  if (!expected.has_value())
    return input_error("{}: tensor {} has shape {}, more bytes than can be counted", where,
                       quote_name(entry.name), shape_text(entry.shape));
  const size_t bytes = entry.end - entry.begin;
  if (*expected != bytes)
    return input_error(
        "{}: tensor {} of shape {} and dtype {} needs {} bytes but spans {} ({}..{})", where,
        quote_name(entry.name), shape_text(entry.shape), entry.dtype, *expected, bytes, entry.begin,
        entry.end);
  return TensorInfo{entry.name, dtype, entry.shape, data.data() + entry.begin, bytes, where};
}

// Laid end to end in order of position, the tensors must cover the data exactly.
Status check_layout(std::vector<SafetensorsEntry>& entries, size_t data_bytes,
                    const std::string& where) {
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t covered = 0;
  const SafetensorsEntry* before = nullptr;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin < covered)
      return input_error("{}: tensor {} spans bytes {}..{} which overlap tensor {} at {}..{}",
                         where, quote_name(entry.name), entry.begin, entry.end,
                         quote_name(before->name), before->begin, before->end);
    if (entry.begin > covered)
      return input_error("{}: tensor {} begins at byte {} and leaves a hole after byte {}", where,
                         quote_name(entry.name), entry.begin, covered);
    covered = entry.end;
    before = &entry;
  }
  if (covered != data_bytes)
    return input_error("{}: {} bytes follow the last tensor, which ends at byte {} of the data",
                       where, data_bytes - covered, covered);
  return ok_status();
}

Result<std::string_view> header_of(std::span<const std::byte> bytes, const std::string& where) {
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof(header_bytes))
    return input_error("{}: {} bytes long, too short for the 8-byte header length", where,
                       bytes.size());
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes)
    return input_error("{}: header length is {}, expected at most {} (not a safetensors file?)",
                       where, header_bytes, kMaxHeaderBytes);
  if (header_bytes > bytes.size() - sizeof(header_bytes))
    return input_error("{}: header length is {} but only {} bytes follow (truncated?)", where,
                       header_bytes, bytes.size() - sizeof(header_bytes));
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + sizeof(header_bytes),
                                header_bytes);
  if (header.empty() || header.front() != '{')
    return input_error("{}: the header does not begin with '{{', expected a JSON object", where);
  return header;
}

}  // namespace

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto at =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const TensorInfo& t, std::string_view n) { return t.name < n; });
  return at == tensors.end() || at->name != name ? nullptr : &*at;
}

Result<SafetensorsFile> parse_safetensors(std::span<const std::byte> bytes,
                                          const std::string& where) {
  PLUMB_ASSIGN(const std::string_view json, header_of(bytes, where));
  PLUMB_ASSIGN(SafetensorsHeader header, parse_safetensors_header(json, where));
  const std::span<const std::byte> data = bytes.subspan(sizeof(uint64_t) + json.size());
  SafetensorsFile result;
  result.metadata = std::move(header.metadata);
  result.tensors.reserve(header.entries.size());
  for (const SafetensorsEntry& entry : header.entries) {
    PLUMB_ASSIGN(TensorInfo tensor, to_tensor(entry, data, where));
    result.tensors.push_back(std::move(tensor));
  }
  PLUMB_RETURN_IF_ERROR(check_layout(header.entries, data.size(), where));
  std::sort(result.tensors.begin(), result.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  return result;
}

Result<SafetensorsFile> open_safetensors(const std::filesystem::path& path) {
  PLUMB_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  PLUMB_ASSIGN(SafetensorsFile result, parse_safetensors(file->bytes(), path.string()));
  result.file = std::move(file);
  return result;
}

}  // namespace plumb
