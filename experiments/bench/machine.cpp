#include "experiments/bench/machine.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/record/provenance.h"

namespace plumb {
namespace {

// Three digits after the point: more is noise.
Json rounded(double value) { return std::round(value * 1e3) / 1e3; }
Json or_null(double value) { return value > 0 ? rounded(value) : Json(); }

}  // namespace

MachineCeilings measure_machine(Team& team) {
  MachineCeilings machine;
  machine.caches = cache_sizes();
  machine.sizes = bandwidth_sizes(machine.caches, team.size());
  machine.arithmetic = measure_arithmetic(team);
  machine.l2 = measure_read_bandwidth(team, machine.sizes.l2);
  machine.l3 = measure_read_bandwidth(team, machine.sizes.l3);
  machine.dram = measure_read_bandwidth(team, machine.sizes.dram);
  return machine;
}

Level level_for(const MachineCeilings& machine, double bytes) {
  if (bytes <= static_cast<double>(machine.caches.l3)) return {"l3_gbs", machine.l3.all};
  return {"dram_gbs", machine.dram.all};
}

Json host_json(int n_threads) {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  const CacheSizes caches = cache_sizes();
  return {{"name", host_name()},
          {"cpu", cpu_model()},
          {"cores", available_cores()},
          {"threads", n_threads},
          {"utc", utc_now()},
          {"memory_bytes", pages > 0 ? Json(static_cast<int64_t>(pages) * page) : Json()},
          {"l2_bytes_per_core", caches.l2 > 0 ? Json(caches.l2) : Json()},
          {"l3_bytes_reported", caches.l3 > 0 ? Json(caches.l3) : Json()}};
}

Json ceilings_json(const MachineCeilings& machine) {
  const ArithmeticCeilings& a = machine.arithmetic;
  const auto side = [&](double Ceiling::*which) {
    return Json{{"f32_gflops", rounded(a.f32.*which)},
                {"bf16_gflops", rounded(a.bf16().*which)},
                {"bf16_dot_gflops", or_null(a.bf16_dot.*which)},
                {"int8_gops", rounded(a.int8().*which)},
                {"int8_dot_gops", or_null(a.int8_dot.*which)},
                {"amx_bf16_gflops", or_null(a.amx_bf16.*which)},
                {"amx_int8_gops", or_null(a.amx_int8.*which)},
                {"l2_gbs", rounded(machine.l2.*which)},
                {"l3_gbs", rounded(machine.l3.*which)},
                {"dram_gbs", rounded(machine.dram.*which)}};
  };
  Json json = side(&Ceiling::all);
  json["one_core"] = side(&Ceiling::one);
  json["int8_dot_instructions"] =
      a.int8_instructions[0] != '\0' ? Json(a.int8_instructions) : Json();
  json["measured_at_bytes"] = {
      {"l2", machine.sizes.l2}, {"l3", machine.sizes.l3}, {"dram", machine.sizes.dram}};
  return json;
}

}  // namespace plumb
