// TapBus: asks its observers, then shows them. A model holds a pointer to one; null means that
// nobody looks, which costs one branch a call site.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/base/mat.h"
#include "core/base/place.h"
#include "core/base/result.h"
#include "core/taps/tap.h"

namespace plumb {

class TapObserver {
 public:
  virtual ~TapObserver() = default;
  // Asked before every firing; the tensor is only prepared for a yes.
  virtual bool wants(Tap tap, const Place& place) = 0;
  // `rows` is valid during the call only and must not be written to.
  virtual void show(Tap tap, const Place& place, MatView<const float> rows) = 0;
};

class TapBus {
 public:
  // `declared`: the taps this model can fire. Subscribing to another is an error naming it.
  // REQUIRES `observer` outlives the bus.
  Status subscribe(TapObserver* observer, std::span<const Tap> asked, std::span<const Tap> declared);

  bool wants(Tap tap, const Place& place) const;
  void show(Tap tap, const Place& place, MatView<const float> rows) const;

 private:
  std::vector<TapObserver*> observers_;
};

// For call sites: fires if somebody looks.
inline void fire(const TapBus* bus, Tap tap, const Place& place, MatView<const float> rows) {
  if (bus != nullptr && bus->wants(tap, place)) [[unlikely]] bus->show(tap, place, rows);
}

}  // namespace plumb
