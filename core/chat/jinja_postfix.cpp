#include <algorithm>
#include <utility>

#include "core/chat/jinja_expressions.h"

namespace plumb::jinja {

ExprPtr ExpressionParser::postfix(ExprPtr value) {
  for (;;) {
    if (stream_.at_operator(".") || stream_.at_operator("["))
      value = subscript(std::move(value));
    else if (stream_.at_operator("("))
      value = call(std::move(value));
    else
      return value;
  }
}

ExprPtr ExpressionParser::filter_chain(ExprPtr value) {
  for (;;) {
    if (stream_.at_operator("|"))
      value = filters(std::move(value));
    else if (stream_.at_name("is"))
      value = test(std::move(value));
    else if (stream_.at_operator("("))
      value = call(std::move(value));
    else
      return value;
  }
}

ExprPtr ExpressionParser::subscript(ExprPtr object) {
  const Token& opening = stream_.take();
  const int line = opening.line;
  if (opening.text == ".") {
    const Token& name = stream_.take();
    if (name.kind == TokenKind::kName) {
      ExprPtr node = make(ExprKind::kAttribute, line, parts_of(std::move(object)));
      node->name = name.text;
      return node;
    }
    if (name.kind != TokenKind::kInteger)
      stream_.fail_at(name.line, "expected a name or a number after '.'");
    ExprPtr key = make(ExprKind::kConstant, line);
    key->constant = Value::integer(name.integer);
    return make(ExprKind::kItem, line, parts_of(std::move(object), std::move(key)));
  }
  std::vector<ExprPtr> parts;
  parts.push_back(std::move(object));
  bool sliced = false;
  const auto ends = [&] {
    return stream_.at_operator("]") || stream_.at_operator(",") || stream_.at_operator(":");
  };
  if (stream_.at_operator("]")) stream_.fail_expected("an index");
  for (int i = 0; i < 3; ++i) {
    parts.push_back(ends() ? nullptr : expression());
    if (i == 2 || !stream_.skip_operator(":")) break;
    sliced = true;
  }
  if (stream_.at_operator(",")) stream_.fail_here("an index of several parts is not supported");
  stream_.expect_operator("]");
  if (sliced) parts.resize(4);
  return make(sliced ? ExprKind::kSlice : ExprKind::kItem, line, std::move(parts));
}

void ExpressionParser::argument(CallArguments* arguments) {
  const int line = stream_.line();
  const auto ensure = [&](bool allowed) {
    if (!allowed) stream_.fail_at(line, "arguments in an order that is not allowed");
  };
  if (stream_.skip_operator("*")) {
    ensure(!arguments->star && !arguments->star_star);
    arguments->star = expression();
  } else if (stream_.skip_operator("**")) {
    ensure(!arguments->star_star);
    arguments->star_star = expression();
  } else if (stream_.kind() == TokenKind::kName && stream_.at_operator("=", 1)) {
    ensure(!arguments->star_star);
    std::string name = stream_.take().text;
    stream_.take();
    for (const auto& [other, value] : arguments->named)
      if (other == name)
        stream_.fail_at(line, fmt::format("the argument '{}' is given twice", name));
    arguments->named.emplace_back(std::move(name), expression());
  } else {
    ensure(!arguments->star && !arguments->star_star && arguments->named.empty());
    arguments->positional.push_back(expression());
  }
}

std::unique_ptr<CallArguments> ExpressionParser::arguments() {
  auto result = std::make_unique<CallArguments>();
  stream_.expect_operator("(");
  bool later = false;
  while (!stream_.at_operator(")")) {
    if (later) stream_.expect_operator(",");
    if (later && stream_.at_operator(")")) break;
    argument(result.get());
    later = true;
  }
  stream_.expect_operator(")");
  return result;
}

ExprPtr ExpressionParser::with_arguments(ExprPtr node,
                                         std::unique_ptr<CallArguments> arguments) const {
  if (arguments == nullptr) arguments = std::make_unique<CallArguments>();
  const auto deepen = [&](const ExprPtr& part) {
    if (part) node->depth = std::max(node->depth, part->depth + 1);
  };
  for (const ExprPtr& part : arguments->positional) deepen(part);
  for (const auto& [name, part] : arguments->named) deepen(part);
  deepen(arguments->star);
  deepen(arguments->star_star);
  if (node->depth > kMaxTreeDepth)
    stream_.fail_at(node->line, fmt::format("an expression of more than {} steps", kMaxTreeDepth));
  node->arguments = std::move(arguments);
  return node;
}

ExprPtr ExpressionParser::call(ExprPtr callee) {
  const int line = stream_.line();
  auto given = arguments();
  return with_arguments(make(ExprKind::kCall, line, parts_of(std::move(callee))), std::move(given));
}

ExprPtr ExpressionParser::filters(ExprPtr value, bool inline_start) {
  while (inline_start || stream_.at_operator("|")) {
    if (!inline_start) stream_.take();
    inline_start = false;
    const int line = stream_.line();
    std::string name = stream_.expect_any_name();
    while (stream_.skip_operator(".")) name += "." + stream_.expect_any_name();
    std::unique_ptr<CallArguments> given;
    if (stream_.at_operator("(")) given = arguments();
    ExprPtr node = make(ExprKind::kFilter, line, parts_of(std::move(value)));
    node->name = std::move(name);
    value = with_arguments(std::move(node), std::move(given));
  }
  return value;
}

// `x is divisibleby 3` takes an argument without parentheses.
bool ExpressionParser::starts_test_argument() const {
  switch (stream_.kind()) {
    case TokenKind::kName:
      return !stream_.at_name("else") && !stream_.at_name("or") && !stream_.at_name("and");
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return true;
    default:
      return stream_.at_operator("[") || stream_.at_operator("{");
  }
}

ExprPtr ExpressionParser::test(ExprPtr value) {
  const int line = stream_.take().line;
  const bool negated = stream_.skip_name("not");
  std::string name = stream_.expect_any_name();
  while (stream_.skip_operator(".")) name += "." + stream_.expect_any_name();
  std::unique_ptr<CallArguments> given;
  if (stream_.at_operator("(")) {
    given = arguments();
  } else if (starts_test_argument()) {
    if (stream_.at_name("is")) stream_.fail_here("tests cannot be chained with 'is'");
    given = std::make_unique<CallArguments>();
    given->positional.push_back(postfix(primary()));
  }
  ExprPtr node = make(ExprKind::kTest, line, parts_of(std::move(value)));
  node->name = std::move(name);
  node = with_arguments(std::move(node), std::move(given));
  return negated ? make(ExprKind::kNot, line, parts_of(std::move(node))) : std::move(node);
}

void ExpressionParser::signature(Signature* signature) {
  stream_.expect_operator("(");
  while (!stream_.at_operator(")")) {
    if (!signature->parameters.empty()) stream_.expect_operator(",");
    const int line = stream_.line();
    std::string name = stream_.expect_any_name();
    for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"})
      if (name == constant) stream_.fail_at(line, fmt::format("'{}' cannot be a parameter", name));
    auto& known = signature->parameters;
    if (std::find(known.begin(), known.end(), name) != known.end())
      stream_.fail_at(line, fmt::format("the parameter '{}' is given twice", name));
    if (stream_.skip_operator("="))
      signature->defaults.push_back(expression());
    else if (!signature->defaults.empty())
      stream_.fail_at(line, "a parameter without a default follows one with a default");
    known.push_back(std::move(name));
  }
  stream_.expect_operator(")");
}

}  // namespace plumb::jinja
