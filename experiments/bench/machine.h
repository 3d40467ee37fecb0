// This machine: what it is and what it can do at best.
#pragma once

#include <string>

#include "core/base/json.h"
#include "core/kernels/ceilings.h"

namespace plumb {

struct MachineCeilings {
  CacheSizes caches;
  BandwidthSizes sizes;
  ArithmeticCeilings arithmetic;
  Ceiling l2, l3, dram;
};
MachineCeilings measure_machine(Team& team);

// Where weights of this size are read from again and again: "l3" where they fit, else "dram".
struct Level {
  const char* name;
  double gbs;
};
Level level_for(const MachineCeilings& machine, double bytes);

Json host_json(int n_threads);
Json ceilings_json(const MachineCeilings& machine);

}  // namespace plumb
