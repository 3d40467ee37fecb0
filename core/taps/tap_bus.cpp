#include "core/taps/tap_bus.h"

#include <algorithm>

namespace plumb {

Status TapBus::subscribe(TapObserver* observer, std::span<const Tap> asked,
                         std::span<const Tap> declared) {
  for (Tap tap : asked) {
    if (std::find(declared.begin(), declared.end(), tap) != declared.end()) continue;
    std::string known;
    for (Tap t : declared) known += (known.empty() ? "" : ", ") + std::string(tap_row(t).name);
    return input_error("tap \"{}\" never fires on this model; it has: {}", tap_row(tap).name, known);
  }
  observers_.push_back(observer);
  return ok_status();
}

bool TapBus::wants(Tap tap, const Place& place) const {
  return std::any_of(observers_.begin(), observers_.end(),
                     [&](TapObserver* observer) { return observer->wants(tap, place); });
}

void TapBus::show(Tap tap, const Place& place, MatView<const float> rows) const {
  for (TapObserver* observer : observers_)
    if (observer->wants(tap, place)) observer->show(tap, place, rows);
}

}  // namespace plumb
