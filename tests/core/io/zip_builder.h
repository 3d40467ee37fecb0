// Zip files as torch.save writes them, or wrong in one chosen field.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/io/zip_reader.h"
#include "tests/core/io/files.h"

namespace plumb::testing {

struct ZipRecord {
  std::string name, data;
  uint16_t flags = 0x0808;  // sizes follow the data, names are UTF-8
  uint16_t method = 0;
  size_t padding = 0;  // extra field of the local header
  std::string local_name = {};
  // What the central directory says instead of the truth.
  std::function<void(uint32_t& crc, uint32_t& compressed, uint32_t& size, uint32_t& local)> lie =
      {};
};

struct ZipEnd {
  bool zip64 = false;
  uint16_t disk = 0;
  int n_entries_off = 0;
  int directory_off = 0;  // added to where the central directory is said to begin
  std::string comment = {};
  std::string gap = {};  // bytes after the last central entry, counted as part of the directory
};

inline std::string u16(size_t v) { return raw<uint16_t>({static_cast<uint16_t>(v)}); }
inline std::string u32(size_t v) { return raw<uint32_t>({static_cast<uint32_t>(v)}); }
inline std::string u64(size_t v) { return raw<uint64_t>({v}); }

inline std::string zip_end(const ZipEnd& end, size_t begin, size_t size, size_t n) {
  std::string out;
  begin += static_cast<size_t>(end.directory_off);
  n += static_cast<size_t>(end.n_entries_off);
  if (end.zip64) {
    const size_t record = begin + size;
    out += "PK\x06\x06" + u64(44) + u16(45) + u16(45) + u32(0) + u32(0) + u64(n) + u64(n) +
           u64(size) + u64(begin);
    out += "PK\x06\x07" + u32(0) + u64(record) + u32(1);
    n = 0xFFFF;
    size = begin = 0xFFFFFFFF;
  }
  return out + "PK\x05\x06" + u16(end.disk) + u16(end.disk) + u16(n) + u16(n) + u32(size) +
         u32(begin) + u16(end.comment.size()) + end.comment;
}

inline std::string make_zip(const std::vector<ZipRecord>& records, const ZipEnd& end = {}) {
  std::string out, central;
  for (const ZipRecord& record : records) {
    uint32_t crc = crc32(as_bytes(record.data)), local = static_cast<uint32_t>(out.size());
    auto size = static_cast<uint32_t>(record.data.size()), compressed = size;
    const std::string& local_name = record.local_name.empty() ? record.name : record.local_name;
    out += "PK\x03\x04" + u16(20) + u16(record.flags) + u16(record.method) + u32(0) + u32(0) +
           u32(0) + u32(0) + u16(local_name.size()) + u16(record.padding) + local_name +
           std::string(record.padding, 'Z') + record.data;
    out += "PK\x07\x08" + u32(crc) + u32(size) + u32(size);
    if (record.lie) record.lie(crc, compressed, size, local);
    central += "PK\x01\x02" + u16(20) + u16(20) + u16(record.flags) + u16(record.method) + u32(0) +
               u32(crc) + u32(compressed) + u32(size) + u16(record.name.size()) + u16(0) + u16(0) +
               u16(0) + u16(0) + u32(0) + u32(local) + record.name;
  }
  central += end.gap;
  return out + central + zip_end(end, out.size(), central.size(), records.size());
}

}  // namespace plumb::testing
