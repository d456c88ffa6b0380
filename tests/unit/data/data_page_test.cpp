// Every example of docs/data.md goes through the reader, so that the page stays true.
#include <filesystem>
#include <regex>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "data/sources/source.hpp"
#include "data/sources/source_format.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

struct Example {
  std::string format;     // a name of sources.def, or "refused"
  std::string extension;  // of the file it is written to
  std::string text;
};

/// The fenced blocks that are opened by "```<language> <format> <extension>".
std::vector<Example> examples_of_page() {
  std::istringstream page(read_file(LORA_DIST_SOURCE_DIR "/docs/data.md"));
  const std::regex opening(R"(```\w+ (\w+) (\.\w+))");
  std::vector<Example> examples;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    std::smatch match;
    if (inside) {
      if (line == "```")
        inside = false;
      else
        examples.back().text += line + "\n";
    } else if (std::regex_match(line, match, opening)) {
      examples.push_back({match[1], match[2], ""});
      inside = true;
    }
  }
  return examples;
}

std::vector<Record> read_records(const std::string& path, const std::string& format) {
  const auto source = open_source(path, format);
  std::vector<Record> records;
  while (auto record = source->next()) records.push_back(std::move(*record));
  return records;
}

TEST(PageOfDataFormats, ShowsNothingThatTheReaderDoesNotTake) {
  for (const Example& example : examples_of_page()) {
    SCOPED_TRACE(example.text);
    const TempFolder folder;
    const std::string path = folder.write("train" + example.extension, example.text);
    const std::string asked_for = example.format == "document" ? "document" : "auto";
    if (example.format == "refused") {
      EXPECT_THROW(read_records(path, find_sources(path, asked_for).formats.front()), DataError);
      continue;
    }
    EXPECT_THAT(find_sources(path, asked_for).formats, testing::ElementsAre(example.format));
    EXPECT_FALSE(read_records(path, example.format).empty());
  }
}

TEST(PageOfDataFormats, HasAnExampleOfEveryFormat) {
  std::vector<std::string> shown;
  for (const Example& example : examples_of_page()) shown.push_back(example.format);
  for (const std::string_view name : source_formats().names())
    EXPECT_THAT(shown, testing::Contains(std::string(name)));
}

}  // namespace
}  // namespace lora_dist
