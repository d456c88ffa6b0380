#include "tests/support/conformance.hpp"

#include <gtest/gtest.h>

namespace lora_dist {
namespace {

const std::vector<int64_t> kSizes = {0, 1, 7, 1001, (1 << 18) + 3};
const std::vector<at::ScalarType> kCopied = {at::kFloat, at::kDouble, at::kLong, at::kByte,
                                             at::kBFloat16};
const std::vector<at::ScalarType> kSummed = {at::kFloat, at::kDouble, at::kLong};

/// A value that tells sender, receiver and position apart, small enough to be exact in every dtype
/// (below 128).
at::Tensor pattern(int64_t size, int from, int to, at::ScalarType dtype) {
  return at::arange(size, at::kLong).remainder(11).add(16 * from + 2 * to).remainder(127).to(dtype);
}

std::string describe(const Communicator& world, const char* kind, int64_t size,
                     at::ScalarType dtype) {
  return fmt::format("{} of {} x {} on rank {} of {} ({})", kind, size, c10::toString(dtype),
                     world.rank(), world.world_size(), world.backend());
}

/// One collective of `size` elements of `dtype` on `device`.
struct Case {
  int64_t size;
  at::ScalarType dtype;
  at::Device device;
};

std::string describe(const Communicator& world, const char* kind, const Case& c) {
  return describe(world, kind, c.size, c.dtype) + " on " + c.device.str();
}

at::Tensor pattern(const Case& c, int from, int to) {
  return pattern(c.size, from, to, c.dtype).to(c.device);
}

void check_broadcast(Communicator& world, const Case& c) {
  for (const int root : {0, world.world_size() - 1}) {
    at::Tensor tensor = pattern(c, world.rank(), 0);
    world.broadcast(tensor, root, {.name = "pattern"}).wait();
    EXPECT_TRUE(at::equal(tensor, pattern(c, root, 0))) << describe(world, "broadcast", c);
  }
}

void check_all_reduce(Communicator& world, const Case& c) {
  const at::Tensor ones = at::arange(c.size, c.dtype).remainder(5).to(c.device);
  at::Tensor tensor = ones.mul(world.rank() + 1);
  world.all_reduce(tensor).wait();
  const int64_t ranks_sum =
      int64_t{world.world_size()} * (world.world_size() + 1) / 2;  // 1 + 2 + ... + W
  EXPECT_TRUE(at::equal(tensor, ones.mul(ranks_sum))) << describe(world, "all_reduce", c);
}

at::Tensor unwritten_rows(const Communicator& world, const Case& c) {
  return at::full({world.world_size(), c.size}, 99, at::TensorOptions(c.dtype).device(c.device));
}

void check_all_gather(Communicator& world, const Case& c) {
  at::Tensor output = unwritten_rows(world, c);
  world.all_gather(output, pattern(c, world.rank(), 0)).wait();
  for (int from = 0; from < world.world_size(); ++from)
    EXPECT_TRUE(at::equal(output[from], pattern(c, from, 0)))
        << describe(world, "all_gather", c) << ", row " << from;
}

void check_all_to_all(Communicator& world, const Case& c) {
  std::vector<at::Tensor> rows;
  for (int to = 0; to < world.world_size(); ++to) rows.push_back(pattern(c, world.rank(), to));
  at::Tensor output = unwritten_rows(world, c);
  world.all_to_all(output, at::stack(rows)).wait();
  for (int from = 0; from < world.world_size(); ++from)
    EXPECT_TRUE(at::equal(output[from], pattern(c, from, world.rank())))
        << describe(world, "all_to_all", c) << ", row " << from;
}

}  // namespace

void check_collectives(Communicator& world) { check_collectives_on(world, at::kCPU); }

void check_collectives_on(Communicator& world, at::Device device) {
  for (const int64_t size : kSizes) {
    for (const at::ScalarType dtype : kCopied) {
      check_broadcast(world, {size, dtype, device});
      check_all_gather(world, {size, dtype, device});
      check_all_to_all(world, {size, dtype, device});
    }
    for (const at::ScalarType dtype : kSummed) check_all_reduce(world, {size, dtype, device});
    world.barrier();
  }
  EXPECT_EQ(
      broadcast_text(world, fmt::format("from rank {}", world.rank()), world.world_size() - 1),
      fmt::format("from rank {}", world.world_size() - 1));
  const std::vector<std::string> texts = all_gather_text(world, std::string(world.rank(), 'x'));
  for (int from = 0; from < world.world_size(); ++from)
    EXPECT_EQ(texts[from], std::string(from, 'x'));
}

namespace {

/// 0, 1 or 2; not symmetric, and rank 0 sends itself nothing.
int64_t rows_between(int from, int to) { return (from + 2 * to) % 3; }

/// The rows that `from` sends to `to`, which say who sent them, to whom, and where they lay.
at::Tensor rows_of_pair(int from, int to, int64_t width) {
  return at::arange(rows_between(from, to) * width, at::kLong)
      .add(10000 * from + 100 * to)
      .view({-1, width});
}

}  // namespace

void check_uneven_rows(Communicator& world) { check_uneven_rows_on(world, at::kCPU); }

void check_uneven_rows_on(Communicator& world, at::Device device) {
  for (const int64_t width : {1, 7, 70001}) {
    RowCounts rows;
    std::vector<at::Tensor> sent, expected;
    for (int peer = 0; peer < world.world_size(); ++peer) {
      rows.input.push_back(rows_between(world.rank(), peer));
      rows.output.push_back(rows_between(peer, world.rank()));
      sent.push_back(rows_of_pair(world.rank(), peer, width).to(device));
      expected.push_back(rows_of_pair(peer, world.rank(), width).to(device));
    }
    const int64_t bytes_before = world.traffic().bytes_same_host + world.traffic().bytes_other_host;
    at::Tensor output = at::full_like(at::cat(expected), -1);
    world.all_to_all(output, at::cat(sent), rows).wait();
    EXPECT_TRUE(at::equal(output, at::cat(expected)))
        << describe(world, "uneven all_to_all", width, at::kLong);
    const int64_t rows_to_others = at::cat(sent).size(0) - rows.input[world.rank()];
    EXPECT_EQ(world.traffic().bytes_same_host + world.traffic().bytes_other_host - bytes_before,
              rows_to_others * width * 8);
  }
}

void check_split(Communicator& world) {
  // Every third rank, in the order of the world; with a world of two or one, each is alone.
  const std::unique_ptr<Communicator> part = world.split(world.rank() % 3, {.name = "third"});
  EXPECT_EQ(part->rank(), world.rank() / 3);
  EXPECT_EQ(part->world_size(), (world.world_size() - world.rank() % 3 + 2) / 3);
  at::Tensor members = at::empty({part->world_size(), 1}, at::kLong);
  part->all_gather(members, at::full({1}, world.rank(), at::kLong)).wait();
  for (int place = 0; place < part->world_size(); ++place)
    EXPECT_EQ(members[place].item<int64_t>(), world.rank() % 3 + 3 * place);

  const std::unique_ptr<Communicator> whole = world.split(/*colour=*/-7);
  EXPECT_EQ(whole->rank(), world.rank());
  const TrafficCounters before = world.traffic();
  check_collectives(*whole);
  check_uneven_rows(*whole);
  check_overlapping_work(*whole);
  check_traffic(*whole);
  EXPECT_EQ(world.traffic().bytes_same_host - before.bytes_same_host,
            whole->traffic().bytes_same_host)
      << "what a part sends is counted in the whole too";

  const std::unique_ptr<Communicator> half = whole->split(world.rank() % 2);
  const std::unique_ptr<Communicator> alone = half->split(world.rank());
  EXPECT_EQ(alone->world_size(), 1);
  alone->barrier();
  at::Tensor count = at::ones({1}, at::kLong);
  half->all_reduce(count).wait();
  EXPECT_EQ(count.item<int64_t>(), (world.world_size() + 1 - world.rank() % 2) / 2);
}

void check_overlapping_work(Communicator& world) {
  const int world_size = world.world_size();
  at::Tensor summed = at::full({1001}, world.rank() + 1.0, at::kFloat);
  at::Tensor told = at::full({33}, world.rank(), at::kLong);
  at::Tensor gathered = at::zeros({world_size, 5}, at::kByte);
  Work sum = world.all_reduce(summed, {.name = "first"});
  Work tell = world.broadcast(told, world_size - 1, {.name = "second"});
  Work gather =
      world.all_gather(gathered, at::full({5}, world.rank(), at::kByte), {.name = "third"});
  // Half of the ranks wait in the other order: an operation must not depend on a peer's wait().
  if (world.rank() % 2 == 0) {
    sum.wait(), tell.wait(), gather.wait();
  } else {
    gather.wait(), tell.wait(), sum.wait();
  }
  EXPECT_TRUE(at::equal(summed, at::full({1001}, world_size * (world_size + 1) / 2.0, at::kFloat)));
  EXPECT_TRUE(at::equal(told, at::full({33}, world_size - 1, at::kLong)));
  for (int from = 0; from < world_size; ++from)
    EXPECT_TRUE(at::equal(gathered[from], at::full({5}, from, at::kByte)));
}

void check_traffic(Communicator& world) {
  const int64_t world_size = world.world_size();
  const TrafficCounters before = world.traffic();
  at::Tensor reduced = at::zeros({world_size * 10}, at::kFloat);  // 40 W bytes
  world.all_reduce(reduced).wait();
  at::Tensor gathered = at::empty({world_size, 6}, at::kByte);
  world.all_gather(gathered, at::zeros({6}, at::kByte)).wait();
  at::Tensor sent = at::zeros({world_size, 3}, at::kLong);  // rows of 24 bytes
  world.all_to_all(at::empty_like(sent), sent).wait();
  at::Tensor told = at::zeros({7}, at::kBFloat16);  // 14 bytes, round the ring from rank 0
  world.broadcast(told, 0).wait();
  world.barrier();
  const TrafficCounters after = world.traffic();
  EXPECT_EQ(after.collectives - before.collectives, 5);
  const int64_t bytes = after.bytes_same_host + after.bytes_other_host - before.bytes_same_host -
                        before.bytes_other_host;
  const int64_t others = world_size - 1;
  EXPECT_EQ(bytes, 80 * others + 6 * others + 24 * others + (world.rank() == others ? 0 : 14));
  EXPECT_GE(after.seconds, before.seconds);
}

}  // namespace lora_dist
