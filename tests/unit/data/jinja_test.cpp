// The interpreter of chat templates: Jinja's own answers, as transformers sets it up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/templates/jinja/syntax.hpp"

namespace lora_dist::jinja {
namespace {

using testing::HasSubstr;

Dict variables() {
  const auto message = [](const char* role, const char* content) {
    return Value(Dict{{"role", role}, {"content", content}});
  };
  return {{"messages", List{message("user", " Hi "), message("assistant", "Yo")}},
          {"tools", Value()},
          {"n", Value(int64_t{7})}};
}

std::string render(const std::string& source) {
  const Block block = parse(source);
  Scope scope(variables(), std::nullopt);
  run(block, scope);
  return scope.take_text();
}

std::string failure(const std::string& source) {
  try {
    return "no failure: " + render(source);
  } catch (const Failure& failure) {
    return failure.what();
  }
}

struct Case {
  const char* source;
  const char* text;
};

TEST(Jinja, GivesTheTextThatJinjaGives) {
  const Case cases[] = {
      {"a\n{% if n %}\n  b\n{% endif %}\nc", "a\n  b\nc"},  // trim_blocks, lstrip_blocks
      {"a \n {%- if n -%} \n b \n {%- endif %} c", "ab c"},
      {"  {{ n }}\n{# gone #}\nx", "  7\nx"},
      {"{% for m in messages %}{{ loop.index }}{{ m.role }}{{ '' if loop.last else ',' }}"
       "{% endfor %}",
       "1user,2assistant"},
      {"{% for m in messages if m.role == 'user' %}{{ m['content'] | trim }}{% else %}-{% endfor "
       "%}",
       "Hi"},
      {"{% for m in messages[::-1] %}{{ m.content[0] }}{% endfor %}", "Y "},
      {"{% set x = 1 %}{% for m in messages %}{% set x = 2 %}{% endfor %}{{ x }}", "1"},
      {"{% set ns = namespace(x=1) %}{% for m in messages %}{% set ns.x = ns.x + 1 %}{% endfor %}"
       "{{ ns.x }}",
       "3"},
      {"{% macro f(a, b='z') %}<{{ a }}{{ b }}>{% endmacro %}{{ f(1) }}{{ f(b=2, a=3) }}",
       "<1z><32>"},
      {"{% set t %}[{{ n }}]{% endset %}{{ t * 2 }}", "[7][7]"},
      {"{{ 'a' ~ n ~ none }}|{{ n // 2 }}|{{ -7 // 2 }}|{{ -7 % 3 }}|{{ 7 / 2 }}|{{ 2 - 1 - 1 }}",
       "a7None|3|-4|2|3.5|0"},
      {"{{ 1 < 2 < 3 }} {{ not n == 7 }} {{ 'a' in 'cat' }} {{ 'x' not in ['x'] }}",
       "True False True False"},
      {"{{ missing }}{{ missing is defined }}{{ messages[9] is defined }}{{ tools is none }}",
       "FalseFalseTrue"},
      {"{{ 'a,b,c'.split(',')[1:] }} {{ 'xxay'.lstrip('x') }} {{ 'é日'[1] }} {{ 'é日' | length }}",
       "['b', 'c'] ay 日 2"},
      {"{{ {'a': [1, 2.0, true, none, 'é\"']} | tojson }}",
       "{\"a\": [1, 2.0, true, null, \"é\\\"\"]}"},
      {"{{ {'a': [1]} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ]\n}"},
      {"{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join }}",
       " Hi "},
      {"{% generation %}{{ 'a\\n\\u00e9' }}{% endgeneration %}", "a\né"},
      {"{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}"
       "{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
       "02"},
      {"a\n  {% raw %}\n {{ x }} {% if %}\n  {% endraw %}\nb", "a\n\n {{ x }} {% if %}\nb"},
      {"a {%- raw -%}  {{ y }}  {%- endraw -%}  b", "a{{ y }}b"},
      {"{%raw%}{# c #}{%endraw%}\n\ny{% raw %}{% endraw %}", "{# c #}\ny"},
      {"{% filter trim %}  a {{ n }}  {% endfilter %}|", "a 7|"},
      {"{% filter upper | replace('A','b') %}\n xa{% set n = 3 %}{{ n }}\n{% endfilter %}{{ n }}",
       " Xb3\n7"},
      {"{% set x | trim | upper %}  q {{ n }} {% endset %}[{{ x }}]", "[Q 7]"},
      {"{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% else %}old{% endif %}", "old"},
      {"{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"},
  };
  for (const Case& one : cases) EXPECT_EQ(render(one.source), one.text) << one.source;
}

TEST(Jinja, WhatItDoesNotKnowIsNamedWithItsLine) {
  EXPECT_THAT(failure("a\n{% call f() %}"), HasSubstr("line 2: the statement 'call'"));
  EXPECT_THAT(failure("{{ n | wordcount }}"), HasSubstr("the filter 'wordcount'"));
  EXPECT_THAT(failure("{{ 'a'.encode() }}"), HasSubstr("the method 'encode' of a string"));
}

TEST(Jinja, ABrokenTemplateEndsInAMessage) {
  EXPECT_THAT(failure("{% if n %}x"), HasSubstr("no endif"));
  EXPECT_THAT(failure("{{ n"), HasSubstr("a tag without end"));
  EXPECT_THAT(failure("{% raw %}{{ n }}"), HasSubstr("a raw block without end"));
  EXPECT_THAT(failure("{% filter upper %}n"), HasSubstr("no endfilter"));
  EXPECT_THAT(failure("{{ missing.role }}"), HasSubstr("'missing', which is not defined"));
  EXPECT_THAT(failure("{{ raise_exception('roles must alternate') }}"), "roles must alternate");
  EXPECT_THAT(failure("{{ " + std::string(5000, '(') + "n" + std::string(5000, ')') + " }}"),
              HasSubstr("nested too deep"));
  EXPECT_THAT(failure("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), HasSubstr("without end"));
  EXPECT_THAT(failure("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}"
                      "{% endfor %}"),
              HasSubstr("without end"));
}

}  // namespace
}  // namespace lora_dist::jinja
