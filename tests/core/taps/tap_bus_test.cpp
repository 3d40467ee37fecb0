#include "core/taps/tap_bus.h"

#include <gtest/gtest.h>

namespace plumb {
namespace {

class Listener final : public TapObserver {
 public:
  explicit Listener(Tap tap) : tap_(tap) {}
  bool wants(Tap tap, const Place&) override { return tap == tap_; }
  void show(Tap, const Place& place, MatView<const float> rows) override {
    places.push_back(place);
    last = rows(0, 0);
  }
  std::vector<Place> places;
  float last = 0;

 private:
  Tap tap_;
};

TEST(TapBus, RefusesATapThatCannotFire) {
  TapBus bus;
  Listener listener(Tap::kGate);
  const Tap asked[] = {Tap::kGate}, declared[] = {Tap::kState, Tap::kLogits};
  const Status status = bus.subscribe(&listener, asked, declared);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("\"gate\""), std::string::npos);
  EXPECT_NE(status.error().message.find("state, logits"), std::string::npos);
}

TEST(TapBus, ShowsOnlyWhatWasAsked) {
  TapBus bus;
  Listener listener(Tap::kState);
  const Tap taps[] = {Tap::kState};
  ASSERT_TRUE(bus.subscribe(&listener, taps, taps).ok());
  Mat<float> rows(1, 1);
  rows(0, 0) = 7;
  fire(&bus, Tap::kLogits, {}, rows);
  EXPECT_TRUE(listener.places.empty());
  fire(&bus, Tap::kState, {Stage::kCore, 1, 4}, rows);
  ASSERT_EQ(listener.places.size(), 1u);
  EXPECT_EQ(listener.places[0], (Place{Stage::kCore, 1, 4}));
  EXPECT_EQ(listener.last, 7);
  fire(nullptr, Tap::kState, {}, rows);  // nobody looks
}

TEST(Taps, NamesAndTableAgree) {
  for (const TapRow& row : kTaps) {
    EXPECT_EQ(tap_row(row.tap).name, row.name);
    EXPECT_EQ(parse_tap(row.name), row.tap);
  }
  EXPECT_FALSE(parse_tap("nothing").has_value());
}

}  // namespace
}  // namespace plumb
