#include "data/io/json.hpp"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/error_text.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

std::string read_error(const std::string& text) {
  const TempFolder folder;
  const std::string path = folder.write("a.json", text);
  std::string message = error_text<ModelError>([&] { read_json_file(path); });
  if (message.starts_with(path)) message.replace(0, path.size(), "a.json");
  return message;
}

TEST(StrictJson, ReadsWhatIsWellFormedAndKeepsTheOrder) {
  const auto value =
      parse_json<nlohmann::ordered_json>(R"({"b": [1, {"x": {}}, {"x": 2}], "a": {"b": 3}})");
  EXPECT_EQ(value.dump(), R"({"b":[1,{"x":{}},{"x":2}],"a":{"b":3}})");
}

TEST(StrictJson, RefusesAKeyTwiceInOneObjectAtAnyDepth) {
  EXPECT_EQ(read_error(R"({"a": 1, "b": 2, "a": 1})"),
            "a.json: key 'a' stands twice; restore or download it again");
  EXPECT_EQ(read_error(R"({"a": [{"k": 1}, {"k": 1, "k": 2}]})"),
            "a.json: key 'k' stands twice; restore or download it again");
  EXPECT_EQ(read_error(R"({"a": [{"k": 1}], "b": {"k": 1}, "k": 1, "a": 1})"),
            "a.json: key 'a' stands twice; restore or download it again");
}

TEST(StrictJson, NamesTheByteAndWhatCouldHaveStoodThere) {
  EXPECT_EQ(read_error(R"({"a": 1)"),
            "a.json: byte 7: unexpected end, expected ',' or '}'; restore or download it again");
  EXPECT_EQ(read_error(R"({"a": 1;})"),
            "a.json: byte 7: unexpected ';', expected ',' or '}'; restore or download it again");
}

TEST(StrictJson, RefusesTextThatIsNotUtf8) {
  EXPECT_EQ(read_error("{\"a\": \"\xb0\"}"),
            "a.json: byte 7: bytes that are not UTF-8; restore or download it again");
}

TEST(StrictJson, RefusesDeepNestingAndNumbersWithoutValue) {
  EXPECT_EQ(read_error(std::string(5000, '[') + std::string(5000, ']')),
            "a.json: nested deeper than 64 levels; restore or download it again");
  EXPECT_EQ(read_error(R"({"a": 1e999})"),
            "a.json: a number is too large; restore or download it again");
  EXPECT_NE(read_error(R"({"a": NaN})"), "(no error)");
}

TEST(StrictJson, TheOutermostValueIsAnObject) {
  EXPECT_EQ(read_error("[1]"), "a.json: holds a list, expected a JSON object");
}

TEST(SortedJson, SortsEveryLevelAndTurnsNotANumberIntoNull) {
  const nlohmann::ordered_json value = {{"b", std::nan("")}, {"a", {{"d", 1}, {"c", 0.1}}}};
  EXPECT_EQ(sorted_json_text(value),
            "{\n  \"a\": {\n    \"c\": 0.1,\n    \"d\": 1\n  },\n  \"b\": null\n}\n");
}

}  // namespace
}  // namespace lora_dist
