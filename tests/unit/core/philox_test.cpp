#include "core/base/philox.hpp"

#include <gtest/gtest.h>

namespace lora_dist {
namespace {

// Rows "philox4x32 10" of kat_vectors in the Random123 distribution.
TEST(Philox, GivesTheKnownAnswersOfRandom123) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, TakesBothHalvesOfASeed) {
  EXPECT_EQ(philox_key(0x299f31d0a4093822), (PhiloxKey{0xa4093822, 0x299f31d0}));
}

TEST(Philox, GivesUniformNumbersBelowOne) {
  EXPECT_EQ(philox_uniform(0), 0.0f);
  EXPECT_EQ(philox_uniform(0x80000000), 0.5f);
  EXPECT_LT(philox_uniform(0xffffffff), 1.0f);
}

}  // namespace
}  // namespace lora_dist
