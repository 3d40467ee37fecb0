#include "core/chat/jinja_expressions.h"

#include <algorithm>
#include <utility>

namespace plumb::jinja {
namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd: return "the end of the template";
    case TokenKind::kBlockEnd: return "'%}'";
    case TokenKind::kVariableEnd: return "'}}'";
    case TokenKind::kString: return "a string";
    case TokenKind::kInteger:
    case TokenKind::kFloat: return "a number";
    case TokenKind::kName:
    case TokenKind::kOperator: return fmt::format("'{}'", token.text);
    default: return "text";
  }
}

}  // namespace

const Token& TokenStream::take() {
  const Token& token = peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::at_name(std::string_view name, size_t ahead) const {
  return peek(ahead).kind == TokenKind::kName && peek(ahead).text == name;
}

bool TokenStream::at_operator(std::string_view op, size_t ahead) const {
  return peek(ahead).kind == TokenKind::kOperator && peek(ahead).text == op;
}

bool TokenStream::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  take();
  return true;
}

bool TokenStream::skip_operator(std::string_view op) {
  if (!at_operator(op)) return false;
  take();
  return true;
}

void TokenStream::expect_name(std::string_view name) {
  if (!skip_name(name)) fail_expected(fmt::format("'{}'", name));
}

void TokenStream::expect_operator(std::string_view op) {
  if (!skip_operator(op)) fail_expected(fmt::format("'{}'", op));
}

void TokenStream::expect_kind(TokenKind wanted, std::string_view what) {
  if (kind() != wanted) fail_expected(fmt::format("'{}'", what));
  take();
}

std::string TokenStream::expect_any_name() {
  if (kind() != TokenKind::kName) fail_expected("a name");
  return take().text;
}

void TokenStream::fail_at(int line, std::string message) const { throw Failure{std::move(message), line}; }

void TokenStream::fail_expected(std::string_view what) const {
  fail_here(fmt::format("found {}, expected {}", describe(peek()), what));
}

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

namespace {

std::vector<ExprPtr> list_of(ExprPtr a, ExprPtr b = nullptr) {
  std::vector<ExprPtr> parts;
  parts.push_back(std::move(a));
  if (b) parts.push_back(std::move(b));
  return parts;
}

}  // namespace

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
    std::vector<ExprPtr> parts = list_of(std::move(test), std::move(value));
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
    left = make(ExprKind::kOr, line, list_of(std::move(left), std::move(right)));
    line = stream_.line();
  }
  return left;
}

ExprPtr ExpressionParser::conjunction() {
  int line = stream_.line();
  ExprPtr left = negation();
  while (stream_.skip_name("and")) {
    ExprPtr right = negation();
    left = make(ExprKind::kAnd, line, list_of(std::move(left), std::move(right)));
    line = stream_.line();
  }
  return left;
}

ExprPtr ExpressionParser::negation() {
  if (!stream_.at_name("not")) return comparison();
  Nesting nesting(stream_);
  const int line = stream_.take().line;
  return make(ExprKind::kNot, line, list_of(negation()));
}

ExprPtr ExpressionParser::comparison() {
  static constexpr std::pair<std::string_view, CompareOp> kSymbols[] = {
      {"==", CompareOp::kEq}, {"!=", CompareOp::kNe}, {"<", CompareOp::kLt},
      {"<=", CompareOp::kLe}, {">", CompareOp::kGt},  {">=", CompareOp::kGe}};
  const int line = stream_.line();
  std::vector<ExprPtr> parts = list_of(sum());
  std::vector<CompareOp> compares;
  for (;;) {
    const auto symbol = std::find_if(std::begin(kSymbols), std::end(kSymbols), [&](const auto& entry) {
      return stream_.at_operator(entry.first);
    });
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
    left = make(ExprKind::kBinary, line, list_of(std::move(left), std::move(right)));
    left->op = op;
    line = stream_.line();
  }
  return left;
}

ExprPtr ExpressionParser::concatenation() {
  const int line = stream_.line();
  std::vector<ExprPtr> parts = list_of(product());
  while (stream_.skip_operator("~")) parts.push_back(product());
  if (parts.size() == 1) return std::move(parts[0]);
  return make(ExprKind::kConcat, line, std::move(parts));
}

ExprPtr ExpressionParser::product() {
  static constexpr std::pair<std::string_view, BinaryOp> kSymbols[] = {
      {"*", BinaryOp::kMul}, {"/", BinaryOp::kDiv}, {"//", BinaryOp::kFloorDiv}, {"%", BinaryOp::kMod}};
  int line = stream_.line();
  ExprPtr left = power();
  for (;;) {
    const auto symbol = std::find_if(std::begin(kSymbols), std::end(kSymbols), [&](const auto& entry) {
      return stream_.at_operator(entry.first);
    });
    if (symbol == std::end(kSymbols)) return left;
    stream_.take();
    ExprPtr right = power();
    left = make(ExprKind::kBinary, line, list_of(std::move(left), std::move(right)));
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
    left = make(ExprKind::kBinary, line, list_of(std::move(left), std::move(right)));
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
    node = make(minus ? ExprKind::kUnaryMinus : ExprKind::kUnaryPlus, line, list_of(unary(false)));
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
    case TokenKind::kName: return name(with_namespace);
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
    default: break;
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

ExprPtr ExpressionParser::postfix(ExprPtr value) {
  for (;;) {
    if (stream_.at_operator(".") || stream_.at_operator("[")) value = subscript(std::move(value));
    else if (stream_.at_operator("(")) value = call(std::move(value));
    else return value;
  }
}

ExprPtr ExpressionParser::filter_chain(ExprPtr value) {
  for (;;) {
    if (stream_.at_operator("|")) value = filters(std::move(value));
    else if (stream_.at_name("is")) value = test(std::move(value));
    else if (stream_.at_operator("(")) value = call(std::move(value));
    else return value;
  }
}

ExprPtr ExpressionParser::subscript(ExprPtr object) {
  const Token& opening = stream_.take();
  const int line = opening.line;
  if (opening.text == ".") {
    const Token& name = stream_.take();
    if (name.kind == TokenKind::kName) {
      ExprPtr node = make(ExprKind::kAttribute, line, list_of(std::move(object)));
      node->name = name.text;
      return node;
    }
    if (name.kind != TokenKind::kInteger) stream_.fail_at(name.line, "expected a name or a number after '.'");
    ExprPtr key = make(ExprKind::kConstant, line);
    key->constant = Value::integer(name.integer);
    return make(ExprKind::kItem, line, list_of(std::move(object), std::move(key)));
  }
  std::vector<ExprPtr> parts;
  parts.push_back(std::move(object));
  bool sliced = false;
  const auto ends = [&] { return stream_.at_operator("]") || stream_.at_operator(",") || stream_.at_operator(":"); };
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
      if (other == name) stream_.fail_at(line, fmt::format("the argument '{}' is given twice", name));
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

ExprPtr ExpressionParser::with_arguments(ExprPtr node, std::unique_ptr<CallArguments> arguments) const {
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
  return with_arguments(make(ExprKind::kCall, line, list_of(std::move(callee))), std::move(given));
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
    ExprPtr node = make(ExprKind::kFilter, line, list_of(std::move(value)));
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
    case TokenKind::kFloat: return true;
    default: return stream_.at_operator("[") || stream_.at_operator("{");
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
  ExprPtr node = make(ExprKind::kTest, line, list_of(std::move(value)));
  node->name = std::move(name);
  node = with_arguments(std::move(node), std::move(given));
  return negated ? make(ExprKind::kNot, line, list_of(std::move(node))) : std::move(node);
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
    if (stream_.skip_operator("=")) signature->defaults.push_back(expression());
    else if (!signature->defaults.empty())
      stream_.fail_at(line, "a parameter without a default follows one with a default");
    known.push_back(std::move(name));
  }
  stream_.expect_operator(")");
}

}  // namespace plumb::jinja
