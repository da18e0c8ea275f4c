package app

import "github.com/smap-platform/identity/pkg/httpserver"

// vietnamese has every message and every field problem that a client can receive. A new one is a line here; a test names
// those that are missing and those that nothing returns any more. Numbers are "#", in the order of the English text.
var vietnamese = httpserver.Wording{
	// By HTTP status, without a domain.
	"Bad Request":           "Yêu cầu không hợp lệ",
	"Unauthorized":          "Vui lòng đăng nhập",
	"Forbidden":             "Bạn không có quyền thực hiện thao tác này",
	"Not Found":             "Không tìm thấy",
	"Method Not Allowed":    "Phương thức này không được hỗ trợ",
	"Internal server error": "Lỗi máy chủ nội bộ",
	"Internal Server Error": "Lỗi máy chủ nội bộ",
	"Service Unavailable":   "Dịch vụ hiện không khả dụng; vui lòng thử lại sau ít phút",
	"The body is too large": "Nội dung yêu cầu quá lớn",
	"Send JSON with Content-Type: application/json": "Hãy gửi JSON với Content-Type: application/json",
	"Send the internal key as X-Internal-Key":       "Hãy gửi khóa nội bộ trong X-Internal-Key",
	"The service is not available right now; please try again in a moment": "Dịch vụ hiện không khả dụng; " +
		"vui lòng thử lại sau ít phút",
	"The service is busy; please try again in a moment": "Hệ thống đang bận; vui lòng thử lại sau ít phút",

	"Pages of this origin may not do that: it is not one of CORS_ORIGINS": "Trang từ nguồn này không được phép " +
		"thực hiện thao tác đó: nguồn không có trong CORS_ORIGINS",

	"Too many requests; try again in # seconds": "Bạn đã gửi quá nhiều yêu cầu; vui lòng thử lại sau # giây",

	// Several domains.
	"The request is not valid":          "Yêu cầu không hợp lệ",
	"Please log in":                     "Vui lòng đăng nhập",
	"Session not found":                 "Không tìm thấy phiên đăng nhập",
	"Only an administrator may do this": "Chỉ quản trị viên mới được thực hiện thao tác này",
	"User not found":                    "Không tìm thấy người dùng",

	// Accounts.
	"This account is disabled; please contact support": "Tài khoản này đã bị vô hiệu hóa; vui lòng liên hệ bộ phận hỗ trợ",
	"This is the last active administrator; make another one first": "Đây là quản trị viên đang hoạt động cuối cùng; " +
		"hãy chỉ định một quản trị viên khác trước",
	"Wrong e-mail or password":                 "E-mail hoặc mật khẩu không đúng",
	"Wrong code":                               "Mã xác thực không đúng",
	"This e-mail address is already verified":  "Địa chỉ e-mail này đã được xác thực",
	"This code has expired; request a new one": "Mã xác thực đã hết hạn; vui lòng yêu cầu mã mới",
	"Too many wrong codes; request a new one":  "Bạn đã nhập sai mã quá nhiều lần; vui lòng yêu cầu mã mới",
	"Use the browser that asked for this code, or log in to get a new one": "Hãy dùng trình duyệt đã yêu cầu mã này, " +
		"hoặc đăng nhập để nhận mã mới",
	"Too many tries; try again in # seconds":  "Bạn đã thử quá nhiều lần; vui lòng thử lại sau # giây",
	"This e-mail address is not verified yet": "Địa chỉ e-mail này chưa được xác thực",
	"This is not a valid e-mail address":      "Địa chỉ e-mail không hợp lệ",
	"This is not a user id":                   "Mã người dùng không hợp lệ",
	"No code has been requested":              "Chưa có mã nào được yêu cầu",

	// Subscriptions.
	"Subscription not found":                             "Không tìm thấy gói đăng ký",
	"This is not a subscription id":                      "Mã gói đăng ký không hợp lệ",
	"The user has a subscription that is still in force": "Người dùng đã có một gói đăng ký còn hiệu lực",
	"The subscription cannot have this status":           "Gói đăng ký không thể chuyển sang trạng thái này",
	"Only a live subscription can be cancelled":          "Chỉ có thể hủy gói đăng ký còn hiệu lực",

	"The times of the subscription do not fit together": "Các mốc thời gian của gói đăng ký không hợp lý",
	"A newer state of this user has been applied":       "Trạng thái mới hơn của người dùng này đã được áp dụng",

	// Plans.
	"Plan not found":                     "Không tìm thấy gói dịch vụ",
	"Another plan has this name or code": "Tên hoặc mã này đã thuộc về một gói dịch vụ khác",
	"This is not a plan id":              "Mã gói dịch vụ không hợp lệ",
	"The plan is in use":                 "Gói dịch vụ đang được sử dụng",

	// Invitations.
	"This invitation is not valid; ask whoever invited you": "Lời mời không hợp lệ; vui lòng liên hệ người đã mời bạn",
	"This invitation has been used already; please log in":  "Lời mời này đã được sử dụng; vui lòng đăng nhập",
	"This invitation has expired; register, or ask whoever invited you": "Lời mời đã hết hạn; " +
		"vui lòng tự đăng ký hoặc liên hệ người đã mời bạn",
	"Your other uploads are still under way; try again when one has ended": "Các lần tải lên khác của bạn đang được xử lý; " +
		"vui lòng thử lại khi một lần đã xong",
	"Other uploads are under way; please try again in a moment": "Đang có các lần tải lên khác; vui lòng thử lại sau ít phút",
	"There are no such invitations":                             "Không tìm thấy đợt mời này",
	"There is no such invitation":                               "Không tìm thấy lời mời này",
	"The list of addresses cannot be used":                      "Không thể sử dụng danh sách địa chỉ này",
	"This Idempotency-Key belongs to another upload; use a new one": "Idempotency-Key này thuộc về một lần tải lên khác; " +
		"vui lòng dùng khóa mới",
	"Send a list with Content-Type: application/json, or a table with Content-Type: text/csv": "Hãy gửi danh sách với " +
		"Content-Type: application/json, hoặc bảng với Content-Type: text/csv",

	// Projects.
	"Project not found": "Không tìm thấy dự án",
	"The project is done or has failed; it is not changed any more": "Dự án đã hoàn thành hoặc đã thất bại " +
		"và không thể thay đổi nữa",
	"Too many pages of yours are watching projects; close one of them": "Bạn đang mở quá nhiều trang theo dõi dự án; " +
		"vui lòng đóng bớt một trang",
	"Progress is not available right now; please try again in a moment": "Hiện chưa xem được tiến độ; " +
		"vui lòng thử lại sau ít phút",

	// Problems of fields.
	"has no e-mail address; send a JSON list, or CSV with a header line that names the column email": "không có địa chỉ " +
		"e-mail nào; hãy gửi danh sách JSON, hoặc CSV có dòng tiêu đề với cột tên là email",
	"is a spreadsheet or in an unknown encoding; save it as CSV UTF-#": "là bảng tính hoặc có bảng mã không xác định; " +
		"hãy lưu thành CSV UTF-#",
	"is not a form with one file; send the file as a field of multipart/form-data": "không phải là biểu mẫu có một tệp; " +
		"hãy gửi tệp trong một trường của multipart/form-data",
	"is required":                     "là bắt buộc",
	"has the wrong type":              "sai kiểu dữ liệu",
	"is not known":                    "không được hỗ trợ",
	"is not one JSON object":          "không phải là một đối tượng JSON duy nhất",
	"is not one JSON list of strings": "không phải là một danh sách chuỗi JSON duy nhất",
	"is not UTF-#, or escapes half of a surrogate pair": "không phải là UTF-#, hoặc chứa một nửa cặp ký tự thay thế " +
		"(surrogate pair)",
	"must be # digits":                   "phải gồm # chữ số",
	"must be an http or https URL":       "phải là một URL http hoặc https",
	"must be USER or ADMIN":              "phải là USER hoặc ADMIN",
	"must be one":                        "chỉ được có một giá trị",
	"must be a uuid":                     "phải là một UUID",
	"must be a time, as in #-#-#T#:#:#Z": "phải là thời điểm, ví dụ #-#-#T#:#:#Z",
	"must be from # to #":                "phải từ # đến #",
	"must be of active, trialing, past_due, cancelled, expired":   "phải thuộc active, trialing, past_due, cancelled, expired",
	"must be active, past_due or cancelled":                       "phải là active, past_due hoặc cancelled",
	"must not be in the future":                                   "không được ở tương lai",
	"must be in the future":                                       "phải ở tương lai",
	"must be after starts_at":                                     "phải sau starts_at",
	"must be after occurred_at":                                   "phải sau occurred_at",
	"must be trial_ends_at, or be left out, while trialing":       "phải bằng trial_ends_at hoặc bỏ trống khi đang dùng thử",
	"must have # to # characters":                                 "phải có từ # đến # ký tự",
	"must have # to # characters without spaces":                  "phải có từ # đến # ký tự và không có dấu cách",
	"must have at most # characters and no control characters":    "chỉ được có tối đa # ký tự và không có ký tự điều khiển",
	"is not after what was applied last":                          "không mới hơn trạng thái đã áp dụng gần nhất",
	"is set by expiring: leave the ends out":                      "được xác định khi hết hạn: hãy bỏ trống các mốc kết thúc",
	"is that of the plan of every trial":                          "là của gói dịch vụ dùng cho mọi lượt dùng thử",
	"is used by subscriptions":                                    "đang được các gói đăng ký sử dụng",
	"cannot change":                                               "không thể thay đổi",
	"must be uuids":                                               "phải là các UUID",
	"must have at least # characters":                             "phải có ít nhất # ký tự",
	"must have at most # characters":                              "chỉ được có tối đa # ký tự",
	"is too easy to guess; choose another, such as several words": "quá dễ đoán; hãy chọn mật khẩu khác, chẳng hạn nhiều từ",
	"must have at most # values":                                  "chỉ được có tối đa # giá trị",
	"must have # to # items":                                      "phải có từ # đến # mục",
	"must not have a colon":                                       "không được chứa dấu hai chấm",
	"must not have control characters":                            "không được chứa ký tự điều khiển",
	"must be # to # printable characters":                         "phải gồm từ # đến # ký tự in được",
	"must be a whole number from # to #":                          "phải là số nguyên từ # đến #",
	"has more than # addresses; send it in parts":                 "có hơn # địa chỉ; hãy chia thành nhiều phần để gửi",
	"has a quote in line # that is not closed":                    "có dấu ngoặc kép ở dòng # chưa được đóng",
	"must be UTF-# of # to # bytes without control characters": "phải là UTF-#, dài từ # đến # byte " +
		"và không chứa ký tự điều khiển",
	"must be UTF-# of at most # bytes without control characters": "phải là UTF-#, dài tối đa # byte " +
		"và không chứa ký tự điều khiển",
}
