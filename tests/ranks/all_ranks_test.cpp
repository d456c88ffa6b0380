// Errors that one rank has and all ranks throw: by threads, and between the processes of mpirun.
#include "core/ranks/all_ranks.hpp"

#include <new>

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "dist/backends/backend.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/failure.hpp"
#include "tests/support/ranks.hpp"

namespace lora_dist {
namespace {

constexpr int kFailingRank = 1;

/// What every rank catches when rank 1 throws in its share of the work.
template <class Throw>
std::exception_ptr caught(Communicator& world, const Throw& throw_it) {
  try {
    on_all_ranks(world, [&]() -> std::string {
      if (world.rank() == kFailingRank) throw_it();
      return {};
    });
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

template <class Kind>
void check_kind(Communicator& world, int exit_code) {
  const Fault fault{.where = "out/: here",
                    .found = "a: b, expected c; d",
                    .expected = "",
                    .fix = "line one\nline two"};
  const std::exception_ptr error = caught(world, [&] { throw Kind(fault); });
  ASSERT_TRUE(error);
  try {
    std::rethrow_exception(error);
  } catch (const Kind& kept) {
    EXPECT_EQ(kept.exit_code(), exit_code);
    EXPECT_EQ(kept.fault().where, fault.where);
    EXPECT_EQ(kept.fault().found, fault.found);
    EXPECT_EQ(kept.fault().expected, fault.expected);
    EXPECT_EQ(kept.fault().fix, fault.fix);
    EXPECT_STREQ(kept.what(), Kind(fault).what());
  } catch (const std::exception& other) {
    ADD_FAILURE() << "exit code " << exit_code << " came as another kind: " << other.what();
  }
}

void check_all_kinds(Communicator& world) {
#define LORA_DIST_ERROR(Kind, code) check_kind<Kind>(world, code);
  LORA_DIST_ERRORS(LORA_DIST_ERROR)
#undef LORA_DIST_ERROR
  EXPECT_EQ(describe_failure(caught(world, [] { throw std::bad_alloc(); })).exit_code, 6);
  const Failure internal =
      describe_failure(caught(world, [] { throw std::runtime_error("impossible: 7"); }));
  EXPECT_EQ(internal.exit_code, kExitInternal);
  EXPECT_EQ(internal.text, "internal error: impossible: 7; please report this");
}

TEST(AllRanks, ThrowTheErrorOfOneAsTheKindItIs) { run_ranks(2, check_all_kinds); }

TEST(AllRanks, ThrowTheErrorOfAnotherProcessAsTheKindItIs) {
  const WorldInfo world = detect_world();
  if (world.launcher != "mpirun") GTEST_SKIP() << "needs mpirun -n 2 or more";
  const auto joined = backends().at("mpi")({.world = world, .timeout_s = 60});
  check_all_kinds(*joined);
}

}  // namespace
}  // namespace lora_dist
