// The main function of every suite: GoogleTest's, in a program that knows the words of the config.
#include <gtest/gtest.h>

#include "launcher/config_words.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  lora_dist::teach_config_words();
  return RUN_ALL_TESTS();
}
