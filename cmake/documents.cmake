# Manual pages and completions, made by a program of ours from the tables of commands and options (and from docs/) into
# ${CMAKE_BINARY_DIR}/documents: man/manN/*.N, man.gz/manN/*.N.gz, completions/. Pages are installed packed, as
# distributions want them. Where to: install.cmake has asked GNUInstallDirs.

file(GLOB sources CONFIGURE_DEPENDS clients/documents/*.c)
add_executable(metricmq_documents ${sources})
target_link_libraries(metricmq_documents PRIVATE mmq_commands mmq_flags)
# Pages bear the day of SOURCE_DATE_EPOCH, or of the last commit: one commit makes the same pages everywhere.
set(date "")
if(NOT DEFINED ENV{SOURCE_DATE_EPOCH})
  execute_process(COMMAND ${CMAKE_COMMAND} -E env TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%d
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE date OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT date)
  string(TIMESTAMP date "%Y-%m-%d" UTC)
endif()
set_source_files_properties(clients/documents/roff.c PROPERTIES COMPILE_DEFINITIONS MMQ_DATE="${date}")

set(documents ${PROJECT_BINARY_DIR}/documents)
set(documents_stamp ${PROJECT_BINARY_DIR}/documents.stamp)
add_custom_command(OUTPUT ${documents_stamp} VERBATIM
  DEPENDS metricmq_documents ${PROJECT_SOURCE_DIR}/docs/protocol.md
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${documents}
  COMMAND metricmq_documents ${documents} ${PROJECT_SOURCE_DIR}/docs
  COMMAND ${CMAKE_COMMAND} -E copy_directory ${documents}/man ${documents}/man.gz
  COMMAND gzip -9nr ${documents}/man.gz
  COMMAND ${CMAKE_COMMAND} -E touch ${documents_stamp})
add_custom_target(documents ALL DEPENDS ${documents_stamp})

install(DIRECTORY ${documents}/man.gz/ DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT metricmq)
install(FILES ${documents}/completions/metricmq.bash RENAME metricmq
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT metricmq)
# Debian's zsh looks into vendor-completions of /usr, everybody's into site-functions of /usr/local.
install(CODE "if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\")
    set(folder vendor-completions)
  else()
    set(folder site-functions)
  endif()
  file(INSTALL \"${documents}/completions/_metricmq\"
    DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/zsh/\${folder}\")" COMPONENT metricmq)
install(FILES ${documents}/completions/metricmq.fish
  DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT metricmq)
