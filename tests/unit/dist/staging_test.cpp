#include "dist/backends/staging.hpp"

#include <gtest/gtest.h>

namespace lora_dist {
namespace {

/// An operation that is over when it is told so.
class ToldPending final : public Pending {
 public:
  explicit ToldPending(const bool& is_over) : is_over_(is_over) {}
  bool wait_until(Deadline) override { return is_over_; }

 private:
  const bool& is_over_;
};

/// Not what host tensors name as their device, so they are staged as they would be for a GPU.
const at::Device kElsewhere(at::kCPU, 0);

TEST(Staging, LeavesTensorsAloneThatTheTransportTakes) {
  const at::Tensor tensor = at::arange(5);
  for (const std::optional<at::Device>& memory :
       {std::optional<at::Device>(at::kCPU), std::optional<at::Device>()}) {
    Staging staging(memory);
    EXPECT_TRUE(staging.input(tensor).is_same(tensor));
    EXPECT_TRUE(staging.output(tensor).is_same(tensor));
    EXPECT_TRUE(staging.in_place(tensor).is_same(tensor));
    const bool is_over = true;
    auto pending = std::make_unique<ToldPending>(is_over);
    const Pending* const given = pending.get();
    EXPECT_EQ(staging.bring_back(std::move(pending)).get(), given);
  }
}

TEST(Staging, BringsResultsBackOnceTheOperationIsOver) {
  at::Tensor wanted = at::zeros({2, 3}, at::kLong);
  Staging staging(kElsewhere);
  at::Tensor copy = staging.output(wanted);
  ASSERT_FALSE(copy.is_alias_of(wanted));
  EXPECT_EQ(copy.sizes(), wanted.sizes());
  EXPECT_EQ(copy.scalar_type(), at::kLong);
  copy.fill_(7);

  bool is_over = false;
  const auto pending = staging.bring_back(std::make_unique<ToldPending>(is_over));
  EXPECT_FALSE(pending->wait_until(deadline_in(0)));
  EXPECT_TRUE(at::equal(wanted, at::zeros_like(wanted))) << "the operation is still under way";
  is_over = true;
  EXPECT_TRUE(pending->wait_until(deadline_in(0)));
  EXPECT_TRUE(at::equal(wanted, at::full_like(wanted, 7)));
}

TEST(Staging, HandsOverWhatATensorHoldsWhereItIsReadAndReplaced) {
  at::Tensor tensor = at::arange(4);
  Staging staging(kElsewhere);
  at::Tensor copy = staging.in_place(tensor);
  EXPECT_TRUE(at::equal(copy, at::arange(4)));
  copy.add_(1);
  const bool is_over = true;
  EXPECT_TRUE(
      staging.bring_back(std::make_unique<ToldPending>(is_over))->wait_until(deadline_in(0)));
  EXPECT_TRUE(at::equal(tensor, at::arange(1, 5)));
}

}  // namespace
}  // namespace lora_dist
