#include "core/base/trace.hpp"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lora_dist {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

std::vector<std::string> names_of(const std::vector<trace::Event>& events) {
  std::vector<std::string> names;
  for (const trace::Event& event : events) names.emplace_back(event.name);
  return names;
}

TEST(Trace, KeepsSpansOnlyBetweenStartAndStop) {
  { const trace::Span before("before"); }
  trace::start();
  { const trace::Span inside("inside"); }
  EXPECT_THAT(names_of(trace::stop()), ElementsAre("inside"));
  { const trace::Span after("after"); }
  trace::start();
  EXPECT_TRUE(trace::stop().empty());
}

TEST(Trace, LeavesOutSpansThatWereOpenWhenItStartedOrStopped) {
  {
    const trace::Span open_at_start("open at start");
    trace::start();
    const trace::Span inside("inside");
  }
  EXPECT_THAT(names_of(trace::stop()), ElementsAre("inside"));
  trace::start();
  {
    const trace::Span open_at_stop("open at stop");
    EXPECT_TRUE(trace::stop().empty());
    trace::start();
  }
  EXPECT_TRUE(trace::stop().empty()) << "of another recording";
}

TEST(Trace, CountsTheTimeOfInnerSpansOnce) {
  const auto busy = [] { std::this_thread::sleep_for(std::chrono::milliseconds(5)); };
  trace::start();
  {
    const trace::Span outer("outer");
    for (int i = 0; i < 2; ++i) {
      const trace::Span inner("inner");
      busy();
    }
  }
  const std::vector<trace::Event> events = trace::stop();
  ASSERT_THAT(names_of(events), ElementsAre("inner", "inner", "outer"));
  EXPECT_THAT(events[2].own_s,
              DoubleNear(events[2].duration_s - events[0].duration_s - events[1].duration_s, 1e-9));
  EXPECT_DOUBLE_EQ(events[0].own_s, events[0].duration_s);
}

TEST(Trace, TellsThreadsApart) {
  trace::start();
  { const trace::Span here("here"); }
  std::thread([] { const trace::Span there("there"); }).join();
  const std::vector<trace::Event> events = trace::stop();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_NE(events[0].thread, events[1].thread);
}

}  // namespace
}  // namespace lora_dist
