#include "data/sources/speaker_words.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>

#include "data/sources/line_reader.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

constexpr std::array<std::string_view, 35> kUserWords = {
    "用户",    "客户",  "顾客",     "患者",    "病人",   "学生",     "学员",
    "员工",    "甲方",  "买家",     "家长",    "咨询者", "咨询人",   "候选人",
    "求职者",  "网友",  "访客",     "提问",    "提问者", "问题",     "问",
    "指令",    "user",  "customer", "human",   "client", "question", "patient",
    "student", "buyer", "employee", "visitor", "q",      "caller",   "instruction"};
constexpr std::array<std::string_view, 38> kAssistantWords = {
    "律师",   "客服",    "医生",    "老师",   "专家",   "顾问",    "助手",   "助理",
    "机器人", "回答",    "答案",    "答",     "回复",   "hr",      "乙方",   "卖家",
    "店员",   "坐席",    "经理",    "法务",   "销售",   "导师",    "教练",   "assistant",
    "agent",  "bot",     "ai",      "lawyer", "answer", "a",       "doctor", "teacher",
    "seller", "support", "chatgpt", "gpt",    "expert", "response"};
constexpr std::array<std::string_view, 8> kSystemWords = {
    "system",   "system prompt", "system message", "系统",
    "系统提示", "系统提示词",    "系统消息",       "系统指令"};
constexpr std::array<std::string_view, 52> kHeadings = {
    "注意",    "提示",  "备注",    "说明",  "标题",    "主题",    "时间",  "日期", "地点",
    "来源",    "编号",  "案例",    "场景",  "背景",    "对话",    "例如",  "比如", "首先",
    "其次",    "最后",  "总结",    "结论",  "作者",    "姓名",    "年龄",  "地址", "电话",
    "步骤",    "例",    "note",    "notes", "title",   "topic",   "date",  "time", "source",
    "subject", "scene", "example", "http",  "https",   "author",  "name",  "age",  "address",
    "phone",   "email", "step",    "part",  "chapter", "section", "option"};
constexpr std::array<std::string_view, 2> kInstructionWords = {"instruction", "指令"};
constexpr std::array<std::string_view, 2> kInputWords = {"input", "输入"};

constexpr std::array<std::array<std::string_view, 2>, 2> kRemarks = {{{"（", "）"}, {"(", ")"}}};

template <class Known>
bool is_one_of(const Known& known, std::string_view word) {
  return std::ranges::count(known, word) > 0;
}

}  // namespace

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_letter(char c) { return is_upper(c) || (c >= 'a' && c <= 'z'); }

std::string_view without_remark(std::string_view word) {
  for (const auto& [left, right] : kRemarks)
    if (const size_t at = word.find(left); at != std::string_view::npos && word.ends_with(right)) {
      const std::string_view bare = trimmed(word.substr(0, at));
      return bare.empty() ? word : bare;
    }
  return word;
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) {
    return c < 0x80 ? static_cast<char>(std::tolower(c)) : static_cast<char>(c);
  });
  return lower;
}

std::string_view without_number(std::string_view key) {
  std::string_view word = without_remark(key);
  const bool is_chinese = !is_ascii(word);
  if (is_chinese && word.size() > 1 && is_letter(word.back())) word.remove_suffix(1);  // 客户A
  while (!word.empty()) {
    const std::string_view last = word.size() > 3 ? word.substr(word.size() - 3) : "";
    if (is_digit(word.back()) || word.back() == '#')
      word.remove_suffix(1);
    else if (last >= "０" && last <= "９")
      word.remove_suffix(3);
    else
      break;
  }
  word = trimmed(word);
  return word.empty() ? key : word;
}

std::optional<Speaker> known_role(std::string_view key) {
  if (is_one_of(kUserWords, key)) return Speaker::kUser;
  if (is_one_of(kAssistantWords, key)) return Speaker::kAssistant;
  if (is_one_of(kSystemWords, key)) return Speaker::kSystem;
  if (is_one_of(kInputWords, key)) return Speaker::kInput;
  return std::nullopt;
}

bool is_heading(std::string_view key) {
  return is_one_of(kHeadings, key) || is_one_of(kHeadings, without_number(key));
}

bool opens_instruction(std::string_view key) { return is_one_of(kInstructionWords, key); }

std::string known_bare_word(std::string_view line) {
  line = trimmed(line);
  std::string longest;
  const auto look_at = [&](std::string_view word) {
    const bool may_stand_bare = !is_ascii(word) && word.size() >= std::strlen("用户");
    if (may_stand_bare && line.starts_with(word) && word.size() > longest.size()) longest = word;
  };
  for (const std::string_view word : kUserWords) look_at(word);
  for (const std::string_view word : kAssistantWords) look_at(word);
  return longest;
}

}  // namespace lora_dist
