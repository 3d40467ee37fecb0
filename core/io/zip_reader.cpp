#include "core/io/zip_reader.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "core/io/tensor_info.h"

namespace plumb {
namespace {

constexpr uint32_t kLocalSignature = 0x04034B50;
constexpr uint32_t kCentralSignature = 0x02014B50;
constexpr uint32_t kEndSignature = 0x06054B50;
constexpr uint32_t kEnd64Signature = 0x06064B50;
constexpr uint32_t kLocator64Signature = 0x07064B50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22;
constexpr size_t kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr size_t kMaxComment = 0xFFFF;
constexpr uint16_t kFull16 = 0xFFFF;
constexpr uint32_t kFull32 = 0xFFFFFFFF;
// Bit 0 encrypted, 6 strongly encrypted, 13 masked headers.
constexpr uint16_t kEncryptionFlags = 0x2041;

// REQUIRES at + sizeof(T) <= bytes.size().
template <class T>
T load(std::span<const std::byte> bytes, size_t at) {
  PLUMB_CHECK(at <= bytes.size() && sizeof(T) <= bytes.size() - at);
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

bool fits(size_t at, size_t length, size_t end) { return at <= end && length <= end - at; }

std::string_view text_at(std::span<const std::byte> bytes, size_t at, size_t length) {
  return {reinterpret_cast<const char*>(bytes.data()) + at, length};
}

struct Directory {
  uint64_t begin = 0, bytes = 0, n_entries = 0;
  size_t end_of_data = 0;  // no record or directory may reach beyond
};

struct CentralRecord {
  std::string name;
  uint16_t flags = 0, method = 0;
  uint32_t crc = 0;
  uint64_t compressed = 0, size = 0, local = 0;
};

class DirectoryReader {
 public:
  DirectoryReader(std::span<const std::byte> bytes, const std::string& where)
      : bytes_(bytes), where_(where) {}

  Result<std::vector<ZipEntry>> read();

 private:
  std::optional<size_t> find_end() const;
  Result<Directory> find_directory() const;
  Result<Directory> read_end64(size_t end, const Directory& narrow) const;
  Result<CentralRecord> read_central(size_t& at, const Directory& directory) const;
  Status widen(CentralRecord& record, std::span<const std::byte> extra) const;
  Status check_method(const CentralRecord& record) const;
  Result<ZipEntry> locate(const CentralRecord& record, const Directory& directory) const;

  std::span<const std::byte> bytes_;
  const std::string& where_;
};

// The end record is the one whose comment reaches exactly to the end of the file.
std::optional<size_t> DirectoryReader::find_end() const {
  if (bytes_.size() < kEndBytes) return std::nullopt;
  const size_t last = bytes_.size() - kEndBytes;
  const size_t first = last > kMaxComment ? last - kMaxComment : 0;
  for (size_t at = last + 1; at-- > first;)
    if (load<uint32_t>(bytes_, at) == kEndSignature && load<uint16_t>(bytes_, at + 20) == last - at)
      return at;
  return std::nullopt;
}

Result<Directory> DirectoryReader::read_end64(size_t end, const Directory& narrow) const {
  const size_t locator = end - kLocator64Bytes;
  const auto at = load<uint64_t>(bytes_, locator + 8);
  if (load<uint32_t>(bytes_, locator + 4) != 0 || load<uint32_t>(bytes_, locator + 16) > 1)
    return input_error("{}: the zip file spans several disks", where_);
  if (!fits(at, kEnd64Bytes, locator) || load<uint32_t>(bytes_, at) != kEnd64Signature)
    return input_error("{}: the zip64 locator points to byte {}, where there is no end record",
                       where_, at);
  if (load<uint32_t>(bytes_, at + 16) != 0 || load<uint32_t>(bytes_, at + 20) != 0)
    return input_error("{}: the zip file spans several disks", where_);
  const Directory wide{load<uint64_t>(bytes_, at + 48), load<uint64_t>(bytes_, at + 40),
                       load<uint64_t>(bytes_, at + 32), at};
  const bool agree = (narrow.begin == kFull32 || narrow.begin == wide.begin) &&
                     (narrow.bytes == kFull32 || narrow.bytes == wide.bytes) &&
                     (narrow.n_entries == kFull16 || narrow.n_entries == wide.n_entries);
  if (!agree || load<uint64_t>(bytes_, at + 24) != wide.n_entries)
    return input_error("{}: the zip and zip64 end records contradict each other", where_);
  return wide;
}

Result<Directory> DirectoryReader::find_directory() const {
  const auto end = find_end();
  if (!end.has_value())
    return input_error("{}: no zip end-of-central-directory record (truncated?)", where_);
  Directory directory{load<uint32_t>(bytes_, *end + 16), load<uint32_t>(bytes_, *end + 12),
                      load<uint16_t>(bytes_, *end + 10), *end};
  const auto disk = load<uint16_t>(bytes_, *end + 4), start_disk = load<uint16_t>(bytes_, *end + 6);
  const auto n_here = load<uint16_t>(bytes_, *end + 8);
  const bool has64 = *end >= kLocator64Bytes &&
                     load<uint32_t>(bytes_, *end - kLocator64Bytes) == kLocator64Signature;
  const auto is_first = [&](uint16_t number) {
    return number == 0 || (has64 && number == kFull16);
  };
  if (!is_first(disk) || !is_first(start_disk) || n_here != directory.n_entries)
    return input_error("{}: the zip file spans several disks", where_);
  if (has64) {
    PLUMB_ASSIGN(directory, read_end64(*end, directory));
  }
  if (!fits(directory.begin, directory.bytes, directory.end_of_data))
    return input_error("{}: the zip central directory spans bytes {}+{}, past its end record at {}",
                       where_, directory.begin, directory.bytes, directory.end_of_data);
  if (directory.n_entries > directory.bytes / kCentralBytes)
    return input_error("{}: the zip central directory of {} bytes cannot hold {} entries", where_,
                       directory.bytes, directory.n_entries);
  return directory;
}

// Replaces saturated 32-bit fields by the 64-bit ones of extra field 1, which holds them in order.
Status DirectoryReader::widen(CentralRecord& record, std::span<const std::byte> extra) const {
  std::vector<uint64_t*> saturated;
  for (uint64_t* field : {&record.size, &record.compressed, &record.local})
    if (*field == kFull32) saturated.push_back(field);
  size_t at = 0;
  while (!saturated.empty() && fits(at, 4, extra.size())) {
    const auto id = load<uint16_t>(extra, at), length = load<uint16_t>(extra, at + 2);
    at += 4;
    if (!fits(at, length, extra.size())) break;
    if (id == 1 && length >= 8 * saturated.size()) {
      for (size_t i = 0; i < saturated.size(); ++i)
        *saturated[i] = load<uint64_t>(extra, at + 8 * i);
      return ok_status();
    }
    at += length;
  }
  if (saturated.empty()) return ok_status();
  return input_error("{}: zip entry {} has no valid 64-bit sizes", where_, quote_name(record.name));
}

Result<CentralRecord> DirectoryReader::read_central(size_t& at, const Directory& directory) const {
  const size_t end = directory.begin + directory.bytes;
  if (!fits(at, kCentralBytes, end) || load<uint32_t>(bytes_, at) != kCentralSignature)
    return input_error("{}: no zip central directory entry at byte {}, expected {} of them", where_,
                       at, directory.n_entries);
  CentralRecord record;
  record.flags = load<uint16_t>(bytes_, at + 8);
  record.method = load<uint16_t>(bytes_, at + 10);
  record.crc = load<uint32_t>(bytes_, at + 16);
  record.compressed = load<uint32_t>(bytes_, at + 20);
  record.size = load<uint32_t>(bytes_, at + 24);
  record.local = load<uint32_t>(bytes_, at + 42);
  const size_t name = load<uint16_t>(bytes_, at + 28), extra = load<uint16_t>(bytes_, at + 30),
               comment = load<uint16_t>(bytes_, at + 32), disk = load<uint16_t>(bytes_, at + 34);
  if (!fits(at + kCentralBytes, name + extra + comment, end))
    return input_error("{}: the zip central directory entry at byte {} runs past its end", where_,
                       at);
  record.name = text_at(bytes_, at + kCentralBytes, name);
  if (disk != 0) return input_error("{}: the zip file spans several disks", where_);
  PLUMB_RETURN_IF_ERROR(widen(record, bytes_.subspan(at + kCentralBytes + name, extra)));
  at += kCentralBytes + name + extra + comment;
  return record;
}

Status DirectoryReader::check_method(const CentralRecord& record) const {
  if ((record.flags & kEncryptionFlags) != 0)
    return input_error("{}: zip entry {} is encrypted", where_, quote_name(record.name));
  if (record.method != 0)
    return input_error(
        "{}: zip entry {} is compressed (method {}), expected a stored one (method 0)", where_,
        quote_name(record.name), record.method);
  if (record.compressed != record.size)
    return input_error("{}: zip entry {} is stored but has {} bytes for a size of {}", where_,
                       quote_name(record.name), record.compressed, record.size);
  return ok_status();
}

Result<ZipEntry> DirectoryReader::locate(const CentralRecord& record,
                                         const Directory& directory) const {
  PLUMB_RETURN_IF_ERROR(check_method(record));
  if (!fits(record.local, kLocalBytes, directory.begin))
    return input_error("{}: zip entry {} has its header at byte {}, past the end of the data at {}",
                       where_, quote_name(record.name), record.local, directory.begin);
  if (load<uint32_t>(bytes_, record.local) != kLocalSignature)
    return input_error("{}: zip entry {} has no local header at byte {}", where_,
                       quote_name(record.name), record.local);
  const size_t name = load<uint16_t>(bytes_, record.local + 26);
  const size_t extra = load<uint16_t>(bytes_, record.local + 28);
  const size_t header = kLocalBytes + name + extra;
  if (!fits(record.local, header, directory.begin) ||
      !fits(record.local + header, record.size, directory.begin))
    return input_error("{}: zip entry {} ({} bytes) runs past the end of the data at byte {}",
                       where_, quote_name(record.name), record.size, directory.begin);
  const std::string_view local_name = text_at(bytes_, record.local + kLocalBytes, name);
  if (local_name != record.name)
    return input_error("{}: zip entry {} is called {} in its local header", where_,
                       quote_name(record.name), quote_name(local_name));
  if (load<uint16_t>(bytes_, record.local + 8) != record.method ||
      (load<uint16_t>(bytes_, record.local + 6) & kEncryptionFlags) != 0)
    return input_error("{}: zip entry {} is compressed or encrypted by its local header", where_,
                       quote_name(record.name));
  return ZipEntry{record.name, record.local + header, record.size, record.crc};
}

// `ranges` are [local header, end of data) with the index of their entry.
struct Range {
  size_t begin, end, entry;
};

Status check_overlap(std::vector<Range> ranges, const std::vector<ZipEntry>& entries,
                     const std::string& where) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].begin < ranges[i - 1].end)
      return input_error("{}: zip entries {} and {} overlap at byte {}", where,
                         quote_name(entries[ranges[i - 1].entry].name),
                         quote_name(entries[ranges[i].entry].name), ranges[i].begin);
  return ok_status();
}

Result<std::vector<ZipEntry>> DirectoryReader::read() {
  PLUMB_ASSIGN(const Directory directory, find_directory());
  std::vector<ZipEntry> entries;
  std::vector<Range> ranges;
  size_t at = directory.begin;
  for (uint64_t i = 0; i < directory.n_entries; ++i) {
    PLUMB_ASSIGN(const CentralRecord record, read_central(at, directory));
    PLUMB_ASSIGN(ZipEntry entry, locate(record, directory));
    ranges.push_back({record.local, entry.begin + entry.size, entries.size()});
    entries.push_back(std::move(entry));
  }
  if (at != directory.begin + directory.bytes)
    return input_error("{}: the zip central directory goes on after its {} entries", where_,
                       directory.n_entries);
  std::vector<std::string_view> names;
  for (const ZipEntry& entry : entries) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    return input_error("{}: two zip entries have the name {}", where_, quote_name(*twice));
  PLUMB_RETURN_IF_ERROR(check_overlap(std::move(ranges), entries, where_));
  return entries;
}

}  // namespace

Result<ZipReader> ZipReader::open(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < 4 || load<uint32_t>(bytes, 0) != kLocalSignature)
    return input_error(
        "{}: does not begin with a zip header; a file of torch.save in its pre-1.6 format is not "
        "read",
        where);
  ZipReader reader(bytes, where);
  PLUMB_ASSIGN(reader.entries_, DirectoryReader(bytes, where).read());
  std::sort(reader.entries_.begin(), reader.entries_.end(),
            [](const ZipEntry& a, const ZipEntry& b) { return a.name < b.name; });
  return reader;
}

const ZipEntry* ZipReader::find(std::string_view name) const {
  const auto at =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const ZipEntry& e, std::string_view n) { return e.name < n; });
  return at == entries_.end() || at->name != name ? nullptr : &*at;
}

Result<std::span<const std::byte>> ZipReader::read(const ZipEntry& entry, bool check_crc) const {
  const std::span<const std::byte> data = bytes_.subspan(entry.begin, entry.size);
  if (!check_crc) return data;
  const uint32_t found = crc32(data);
  if (found != entry.crc)
    return input_error("{}: zip entry {} has CRC-32 {:08x}, expected {:08x} ({})", where_,
                       quote_name(entry.name), found, entry.crc,
                       entry.crc == 0 ? "its writer left the checksum out, or the file is damaged"
                                      : "damaged file?");
  return data;
}

}  // namespace plumb
