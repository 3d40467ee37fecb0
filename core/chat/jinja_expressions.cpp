#include "core/chat/jinja_expressions.h"

#include <algorithm>
#include <utility>

namespace plumb::jinja {

ExprPtr ExpressionParser::make(ExprKind kind, int line, std::vector<ExprPtr> parts) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = line;
  for (const ExprPtr& part : parts)
    if (part) node->depth = std::max(node->depth, part->depth + 1);
  node->parts = std::move(parts);
  if (node->depth > kMaxTreeDepth)
    stream_.fail_at(line, fmt::format("an expression of more than {} steps", kMaxTreeDepth));
  return node;
}

std::vector<ExprPtr> parts_of(ExprPtr a, ExprPtr b) {
  std::vector<ExprPtr> parts;
  parts.push_back(std::move(a));
  if (b) parts.push_back(std::move(b));
  return parts;
}

bool ExpressionParser::tuple_ends(Names ends) const {
  if (stream_.kind() == TokenKind::kVariableEnd || stream_.kind() == TokenKind::kBlockEnd ||
      stream_.at_operator(")"))
    return true;
  return std::any_of(ends.begin(), ends.end(), [&](auto end) { return stream_.at_name(end); });
}

ExprPtr ExpressionParser::collect_tuple(Names ends, bool simplified, bool with_conditional,
                                        bool parenthesised, bool with_namespace) {
  const int line = stream_.line();
  std::vector<ExprPtr> parts;
  bool is_tuple = false;
  for (;;) {
    if (!parts.empty()) stream_.expect_operator(",");
    if (tuple_ends(ends)) break;
    parts.push_back(simplified ? primary(with_namespace) : expression(with_conditional));
    if (!stream_.at_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !parts.empty()) return std::move(parts[0]);
  if (!is_tuple && !parenthesised) stream_.fail_expected("an expression");
  return make(ExprKind::kTuple, line, std::move(parts));
}

ExprPtr ExpressionParser::tuple(Names ends, bool with_conditional, bool parenthesised) {
  return collect_tuple(ends, false, with_conditional, parenthesised, false);
}

ExprPtr ExpressionParser::target(Names ends, bool with_namespace) {
  return collect_tuple(ends, true, true, false, with_namespace);
}

ExprPtr ExpressionParser::expression(bool with_conditional) {
  Nesting nesting(stream_);
  return with_conditional ? conditional() : disjunction();
}

ExprPtr ExpressionParser::conditional() {
  int line = stream_.line();
  ExprPtr value = disjunction();
  while (stream_.skip_name("if")) {
    ExprPtr test = disjunction();
    std::vector<ExprPtr> parts = parts_of(std::move(test), std::move(value));
    if (stream_.skip_name("else")) parts.push_back(expression());
    value = make(ExprKind::kConditional, line, std::move(parts));
    line = stream_.line();
  }
  return value;
}

ExprPtr ExpressionParser::disjunction() {
  int line = stream_.line();
  ExprPtr left = conjunction();
  while (stream_.skip_name("or")) {
    ExprPtr right = conjunction();
    left = make(ExprKind::kOr, line, parts_of(std::move(left), std::move(right)));
    line = stream_.line();
  }
  return left;
}

ExprPtr ExpressionParser::conjunction() {
  int line = stream_.line();
  ExprPtr left = negation();
  while (stream_.skip_name("and")) {
    ExprPtr right = negation();
    left = make(ExprKind::kAnd, line, parts_of(std::move(left), std::move(right)));
    line = stream_.line();
  }
  return left;
}

ExprPtr ExpressionParser::negation() {
  if (!stream_.at_name("not")) return comparison();
  Nesting nesting(stream_);
  const int line = stream_.take().line;
  return make(ExprKind::kNot, line, parts_of(negation()));
}

ExprPtr ExpressionParser::comparison() {
  static constexpr std::pair<std::string_view, CompareOp> kSymbols[] = {
      {"==", CompareOp::kEq}, {"!=", CompareOp::kNe}, {"<", CompareOp::kLt},
      {"<=", CompareOp::kLe}, {">", CompareOp::kGt},  {">=", CompareOp::kGe}};
  const int line = stream_.line();
  std::vector<ExprPtr> parts = parts_of(sum());
  std::vector<CompareOp> compares;
  for (;;) {
    const auto symbol =
        std::find_if(std::begin(kSymbols), std::end(kSymbols),
                     [&](const auto& entry) { return stream_.at_operator(entry.first); });
    if (symbol != std::end(kSymbols)) {
      stream_.take();
      compares.push_back(symbol->second);
    } else if (stream_.skip_name("in")) {
      compares.push_back(CompareOp::kIn);
    } else if (stream_.at_name("not") && stream_.at_name("in", 1)) {
      stream_.take();
      stream_.take();
      compares.push_back(CompareOp::kNotIn);
    } else {
      break;
    }
    parts.push_back(sum());
  }
  if (compares.empty()) return std::move(parts[0]);
  ExprPtr node = make(ExprKind::kCompare, line, std::move(parts));
  node->compares = std::move(compares);
  return node;
}

ExprPtr ExpressionParser::sum() {
  int line = stream_.line();
  ExprPtr left = concatenation();
  while (stream_.at_operator("+") || stream_.at_operator("-")) {
    const BinaryOp op = stream_.take().text == "+" ? BinaryOp::kAdd : BinaryOp::kSub;
    ExprPtr right = concatenation();
    left = make(ExprKind::kBinary, line, parts_of(std::move(left), std::move(right)));
    left->op = op;
    line = stream_.line();
  }
  return left;
}

ExprPtr ExpressionParser::concatenation() {
  const int line = stream_.line();
  std::vector<ExprPtr> parts = parts_of(product());
  while (stream_.skip_operator("~")) parts.push_back(product());
  if (parts.size() == 1) return std::move(parts[0]);
  return make(ExprKind::kConcat, line, std::move(parts));
}

ExprPtr ExpressionParser::product() {
  static constexpr std::pair<std::string_view, BinaryOp> kSymbols[] = {{"*", BinaryOp::kMul},
                                                                       {"/", BinaryOp::kDiv},
                                                                       {"//", BinaryOp::kFloorDiv},
                                                                       {"%", BinaryOp::kMod}};
  int line = stream_.line();
  ExprPtr left = power();
  for (;;) {
    const auto symbol =
        std::find_if(std::begin(kSymbols), std::end(kSymbols),
                     [&](const auto& entry) { return stream_.at_operator(entry.first); });
    if (symbol == std::end(kSymbols)) return left;
    stream_.take();
    ExprPtr right = power();
    left = make(ExprKind::kBinary, line, parts_of(std::move(left), std::move(right)));
    left->op = symbol->second;
    line = stream_.line();
  }
}

// Jinja's power is left-associative: 2 ** 3 ** 2 is 64.
ExprPtr ExpressionParser::power() {
  int line = stream_.line();
  ExprPtr left = unary();
  while (stream_.skip_operator("**")) {
    ExprPtr right = unary();
    left = make(ExprKind::kBinary, line, parts_of(std::move(left), std::move(right)));
    left->op = BinaryOp::kPow;
    line = stream_.line();
  }
  return left;
}

ExprPtr ExpressionParser::unary(bool with_filter) {
  const int line = stream_.line();
  ExprPtr node;
  if (stream_.at_operator("-") || stream_.at_operator("+")) {
    Nesting nesting(stream_);
    const bool minus = stream_.take().text == "-";
    node = make(minus ? ExprKind::kUnaryMinus : ExprKind::kUnaryPlus, line, parts_of(unary(false)));
  } else {
    node = primary();
  }
  node = postfix(std::move(node));
  return with_filter ? filter_chain(std::move(node)) : std::move(node);
}

ExprPtr ExpressionParser::name(bool with_namespace) {
  const Token& token = stream_.take();
  ExprPtr node = make(ExprKind::kConstant, token.line);
  if (token.text == "true" || token.text == "True") {
    node->constant = Value::boolean(true);
  } else if (token.text == "false" || token.text == "False") {
    node->constant = Value::boolean(false);
  } else if (token.text != "none" && token.text != "None") {
    node->kind = ExprKind::kName;
    node->name = token.text;
    if (with_namespace && stream_.skip_operator(".")) {
      node->kind = ExprKind::kNamespaceRef;
      node->attribute = stream_.expect_any_name();
    }
    for (Signature* signature : open_) {
      if (token.text == "caller") signature->uses_caller = true;
      if (token.text == "kwargs") signature->uses_kwargs = true;
      if (token.text == "varargs") signature->uses_varargs = true;
    }
  }
  return node;
}

ExprPtr ExpressionParser::primary(bool with_namespace) {
  const int line = stream_.line();
  switch (stream_.kind()) {
    case TokenKind::kName:
      return name(with_namespace);
    case TokenKind::kString: {
      std::string text;
      while (stream_.kind() == TokenKind::kString) text += stream_.take().text;
      ExprPtr node = make(ExprKind::kConstant, line);
      node->constant = Value::text(std::move(text));
      return node;
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat: {
      ExprPtr node = make(ExprKind::kConstant, line);
      const Token& token = stream_.take();
      node->constant = token.kind == TokenKind::kInteger ? Value::integer(token.integer)
                                                         : Value::real(token.real);
      return node;
    }
    default:
      break;
  }
  if (stream_.skip_operator("(")) {
    ExprPtr node = tuple({}, true, true);
    stream_.expect_operator(")");
    return node;
  }
  if (stream_.at_operator("[")) return list();
  if (stream_.at_operator("{")) return dict();
  stream_.fail_expected("an expression");
}

ExprPtr ExpressionParser::list() {
  const int line = stream_.take().line;
  std::vector<ExprPtr> parts;
  while (!stream_.at_operator("]")) {
    if (!parts.empty()) stream_.expect_operator(",");
    if (stream_.at_operator("]")) break;
    parts.push_back(expression());
  }
  stream_.expect_operator("]");
  return make(ExprKind::kList, line, std::move(parts));
}

ExprPtr ExpressionParser::dict() {
  const int line = stream_.take().line;
  std::vector<ExprPtr> parts;
  while (!stream_.at_operator("}")) {
    if (!parts.empty()) stream_.expect_operator(",");
    if (stream_.at_operator("}")) break;
    parts.push_back(expression());
    stream_.expect_operator(":");
    parts.push_back(expression());
  }
  stream_.expect_operator("}");
  return make(ExprKind::kDict, line, std::move(parts));
}

}  // namespace plumb::jinja
